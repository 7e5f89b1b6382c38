"""What a cell is given beside its examples: images to fit one perturbation on, held-out images to start at."""

from __future__ import annotations

from advbench.data import Data, Examples
from advbench.errors import AdvbenchError
from advbench.plugin import Attack, Dataset
from advbench.problem.bank import Bank
from advbench.problem.fit import Fit


def fitting_set(
    attack: Attack, part: str, data: Data, judged: Examples, dataset: Dataset, goal: str, seed: int
) -> Fit | None:
    """What an attack on a set fits its perturbation on: the held-out part, the training part, or the judged examples.

    None for an attack that takes every example by itself.
    """
    if attack.scope != "set":
        return None
    found = {"calibrate": data.calibrate, "train": data.train, "judge": judged}[part]
    if len(found) == 0:
        raise AdvbenchError(
            f"{attack.label}: it fits one perturbation for all on images of the part {part!r}, and {dataset.label} has "
            "none there; in Python give calibrate=(images, labels), in a suite name another part with `fit:`"
        )
    return Fit.on(found, goal, dataset.classes, seed)


def starting_bank(attack: Attack, goal: str, data: Data, dataset: Dataset) -> Bank | None:
    """The held-out images that the attack may start at; None for one that does not declare that it uses them."""
    if not attack.uses_bank:
        return None
    bank = Bank.of(data)
    if len(bank) == 0 and goal != "untargeted":
        raise AdvbenchError(
            f"{attack.label}: to reach a class it starts at a held-out image of it, and {dataset.label} has none; "
            f"in Python give calibrate=(images, labels), or leave out the goal {goal}"
        )
    return bank
