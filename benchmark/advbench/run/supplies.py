"""What a cell is given beside its examples: images to fit one perturbation on, held-out images to start at."""

from __future__ import annotations

from advbench.data import Data, Examples
from advbench.errors import AdvbenchError
from advbench.plugin import Attack, Dataset
from advbench.problem.bank import Bank
from advbench.problem.fit import Fit
from advbench.problem.supplies import Supplies


def supplies(
    attack: Attack, goal: str, known: tuple[Dataset, Data], judged: Examples, *, part: str, seed: int
) -> Supplies:
    """Of a data set that is loaded; refused where it has none of what the attack needs.

    An attack on a set fits its perturbation on `part`: the held-out part, the training part, or the judged examples.
    """
    dataset, data = known
    fit = bank = None
    if attack.scope == "set":
        examples = {"calibrate": data.calibrate, "train": data.train, "judge": judged}[part]
        if len(examples) == 0:
            raise AdvbenchError(
                f"{attack.label}: it fits one perturbation for all on images of the part {part!r}, and {dataset.label} "
                "has none there; in Python give calibrate=(images, labels), in a suite name another part with `fit:`"
            )
        fit = Fit.on(examples, goal, dataset.classes, seed)
    if attack.uses_bank:
        bank = Bank.of(data)
        if len(bank) == 0 and goal != "untargeted":
            raise AdvbenchError(
                f"{attack.label}: to reach a class it starts at a held-out image of it, and {dataset.label} has none; "
                f"in Python give calibrate=(images, labels), or leave out the goal {goal}"
            )
    return Supplies(fit, bank)
