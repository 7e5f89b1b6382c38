"""Of what other libraries call adversarial, how much the referee refuses: `python tests/foreign_refusals.py`.

Every attack runs as its library's user would run it: on the plain network, with a batch of digits, at its defaults but
for the radius, which is the board's. Where a default takes hours, or there is none, the arguments stand in the table.
What the library then calls adversarial goes to the referee as any perturbation does. A line of JSON for every attack
goes to the file that `--log` names, and what stands there already is not measured again; names choose attacks. With
`--write` the tables in docs/foreign-attacks.md are made of that file. Half an hour on one core with everything.
"""

from __future__ import annotations

import argparse
import importlib
import json
import math
import random
import sys
import time
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from advbench.access import Access
from advbench.data import DataFolders
from advbench.errors import one_line
from advbench.plugins import data_intake
from advbench.plugins.discovery import discover
from advbench.run.boards import judged_examples
from advbench.run.ready import Workshop
from advbench.target.identity import TargetPlan
from advbench.testing.scene import Scene
from advbench.threats import L2, Linf, Threat
from advbench_foreign import Foolbox, Torchattacks
from advbench_foreign import foolbox as in_foolbox
from advbench_foreign import torchattacks as in_torchattacks
from advbench_foreign.arguments import parameters
from advbench_foreign.foreign import Foreign
from advbench_foreign.known import Known

ROOT = Path(__file__).parents[1]
DOCUMENT = ROOT / "docs/foreign-attacks.md"
KNOWN = "<!-- known: written by tests/foreign_refusals.py -->\n", "<!-- /known -->\n"
REFUSALS = "<!-- refusals: written by tests/foreign_refusals.py -->\n", "<!-- /refusals -->\n"
NETWORKS = {"none": "small-cnn", "adversarial-training": "small-cnn+adversarial-training"}
DIGITS = 200
RADII = {"linf": 0.3, "l2": 2.0, "l1": 8.0}
NO_IMAGE, SAME_CLASS = "not finite", "class unchanged"


@dataclass(frozen=True)
class Setting:
    """An attack, in one ball, and what it is told beside its defaults."""

    library: str
    attack: str
    ball: str
    arguments: dict[str, Any] = field(default_factory=dict)
    digits: int = DIGITS

    @property
    def key(self) -> str:
        inner = ", ".join([self.ball, *(f"{key}={value}" for key, value in self.arguments.items())])
        return f"{self.library} {self.attack} {inner} {self.digits}"


@dataclass
class Row:
    """What came of it on one network."""

    key: str
    network: str
    judged_in: str
    called: int = 0
    refused: dict[str, int] = field(default_factory=dict)
    excess: float = 0.0
    """The largest size beyond what is allowed, of those that are refused for it."""
    failed: str = ""
    seconds: float = 0.0


SMALL: dict[str, dict[str, Any]] = {
    "VirtualAdversarialAttack": {"steps": 10},
    "L2CarliniWagnerAttack": {"binary_search_steps": 5, "steps": 200},
    "EADAttack": {"binary_search_steps": 5, "steps": 200},
    "BoundaryAttack": {"steps": 2000},
    "HopSkipJumpAttack": {"steps": 5},
    "LinearSearchBlendedUniformNoiseAttack": {"directions": 50, "steps": 100},
    "LinearSearchContrastReductionAttack": {"steps": 200},
    "GaussianBlurAttack": {"steps": 200},
    "SaltAndPepperNoiseAttack": {"steps": 200},
}
"""Arguments of attacks that have no default, or whose defaults take hours."""
FEW = {"DeepFool": 50, "AutoAttack": 100, "PDGRS": 100}
LEFT_OUT = {"PointwiseAttack"}
"""A pass for every pixel, many times over."""

LONG = "ProjectedGradientDescentAttack"
"""Another name of PGD."""


def settings() -> Iterator[Setting]:
    for entrant in (Foolbox(), Torchattacks()):
        for name, known in entrant.table.items():
            if name in LEFT_OUT or name.endswith(LONG) or "BrendelBethge" in name:
                continue
            for ball in sorted(known.balls, key=list(RADII).index):
                yield Setting(entrant.library, name, ball, SMALL.get(name, {}), FEW.get(name, DIGITS))


def stage(defense: str, threat: Threat, count: int) -> Scene:
    """The network as it ships and the first digits of the board that it gets right."""
    registry = discover()
    dataset = registry.dataset("mnist-5k")
    data = data_intake.load(dataset, DataFolders())
    plan = TargetPlan(dataset, registry.model("small-cnn"), registry.defense(defense))
    workshop = Workshop(registry, torch.device("cpu"), false_positive_rate=None)
    ready = workshop.ready(plan, data, judged_examples(data, 2 * count, dataset))[0]
    x = ready.examples.pixels()
    with torch.no_grad():
        right = (ready.target.net(x).argmax(1) == ready.examples.labels).nonzero().squeeze(1)[:count]
    assert len(right) == count
    examples = ready.examples
    return Scene(ready.target, x[right], examples.labels[right], examples.ids[right], threat, targeted=False)


def ball(name: str, eps: float) -> Threat:
    if name == "l1":
        sys.path.append(str(ROOT / "plugins/threats"))
        threat: Threat = importlib.import_module("advbench_threats").L1(eps)
        return threat
    return {"linf": Linf, "l2": L2}[name](eps)


def claims(setting: Setting, scene: Scene) -> Iterator[tuple[Threat, Tensor, Tensor]]:
    """Balls, images, and which of them the library's user takes for adversarial in each."""
    kind: type[Foreign] = {"foolbox": Foolbox, "torchattacks": Torchattacks}[setting.library]
    entrant = kind(attack=setting.attack, arguments=tuple(sorted(setting.arguments.items())))
    made, takes = entrant._kind(), parameters(entrant._kind())
    eps, anywhere = RADII[setting.ball], ball(setting.ball, math.inf)
    arguments = dict(setting.arguments)
    x, labels, net = scene.images.clone(), scene.labels.clone(), scene.target.net
    if setting.library == "torchattacks":
        arguments |= {"norm": {"linf": "Linf", "l2": "L2", "l1": "L1"}[setting.ball]} if "norm" in takes else {}
        arguments |= {key: eps for key in in_torchattacks.RADII if key in takes and not entrant.minimizes}
        arguments |= {"seed": 0} if "seed" in takes else {}
        images = in_torchattacks.asked(made(net, **arguments), x, labels)
        with torch.no_grad():  # the library says nothing: whoever uses it asks the network about the batch
            called = net(images).argmax(1) != labels
        yield (anywhere if entrant.minimizes else scene.threat), images, called
        return
    foolbox = importlib.import_module("foolbox")
    arguments |= {"distance": getattr(foolbox.distances, setting.ball)} if "distance" in takes else {}
    arguments |= {"constraint": setting.ball} if "constraint" in takes else {}
    if not entrant.minimizes:
        found = in_foolbox.asked(made(**arguments), net, x, labels, eps)
        yield scene.threat, found.images, found.success
        return
    model = foolbox.PyTorchModel(net, bounds=(0, 1), device=x.device)
    _, clipped, success = made(**arguments)(model, x, foolbox.criteria.Misclassification(labels), epsilons=[None, eps])
    yield anywhere, clipped[0], success[0]
    yield scene.threat, clipped[1], success[1]


def judged(setting: Setting, defense: str) -> Iterator[Row]:
    scene = stage(defense, ball(setting.ball, RADII[setting.ball]), setting.digits)
    torch.manual_seed(0)
    np.random.seed(0)
    random.seed(0)
    began = time.process_time()
    try:
        found = list(claims(setting, scene))
    except Exception as error:
        yield Row(setting.key, NETWORKS[defense], "", failed=one_line(error), seconds=time.process_time() - began)
        return
    seconds = time.process_time() - began
    for threat, images, called in found:
        yield refereed(setting, defense, scene, threat, images.detach(), called, seconds)


def refereed(
    setting: Setting, defense: str, scene: Scene, threat: Threat, images: Tensor, called: Tensor, seconds: float
) -> Row:
    p = images - scene.images
    finite = p.flatten(1).isfinite().all(1)
    row = Row(setting.key, NETWORKS[defense], threat.label, int(called.sum()), seconds=seconds)
    counts: Counter[str] = Counter({NO_IMAGE: int((called & ~finite).sum())})
    places = (called & finite).nonzero().squeeze(1)
    part = Scene(scene.target, scene.images[places], scene.labels[places], scene.ids[places], threat, targeted=False)
    for verdict in part.verdicts(p[places]):
        if verdict.violation:
            counts[verdict.violation] += 1
            row.excess = max(row.excess, float(verdict.excess or 0))
        elif not verdict.reached:
            counts[SAME_CLASS] += 1
    row.refused = {reason: count for reason, count in counts.items() if count}
    return row


def logged(log: Path) -> list[Row]:
    return [Row(**json.loads(line)) for line in log.read_text().splitlines()] if log.exists() else []


def measured(log: Path, wanted: Iterable[Setting]) -> list[Row]:
    known = logged(log)
    done = {row.key for row in known}
    for setting in wanted:
        if setting.key in done:
            continue
        rows = [row for defense in NETWORKS for row in judged(setting, defense)]
        with log.open("a") as file:
            file.writelines(json.dumps(asdict(row)) + "\n" for row in rows)
        print(*rows, sep="\n", flush=True)
        known += rows
    return known


def known_table() -> str:
    """What can be entered, by library and ball."""
    lines = ["| library | ball | attacks |", "| --- | --- | --- |"]
    for entrant in (Foolbox(), Torchattacks()):
        for name in RADII:
            attacks = [f"{key}{marks(one)}" for key, one in sorted(entrant.table.items()) if name in one.balls]
            lines.append(f"| {entrant.library} | {name} | {', '.join(attacks)} |")
    return "\n".join(lines) + "\n"


def marks(known: Known) -> str:
    said = [("m", known.minimizes), ("l", known.needs == Access.LABELS), ("s", known.needs == Access.LOGITS)]
    letters = "".join(letter for letter, true in [*said, ("u", not known.targeted)] if true)
    return f" *{letters}*" if letters else ""


def refusal_tables(rows: list[Row]) -> str:
    """A row a library with the sums, and a row an attack and ball."""
    lines = ["| library | called adversarial | refused |", "| --- | ---: | --- |"]
    for library in ("foolbox", "torchattacks"):
        own = [row for row in rows if row.key.startswith(library) and not row.failed]
        reasons = sum((Counter(row.refused) for row in own), Counter[str]())
        lines.append(f"| {library} | {sum(row.called for row in own):,} | {refusals(reasons)} |")
    lines += ["", f"| attack | judged in | {' | '.join(f'`{network}`' for network in NETWORKS.values())} |"]
    lines.append("| --- | --- | --- | --- |")
    cells: dict[tuple[str, str], dict[str, str]] = {}
    for row in rows:
        cells.setdefault((row.key, row.judged_in), {})[row.network] = outcome(row)
    for (key, judged_in), by_network in cells.items():
        found = [by_network.get(network, "") for network in NETWORKS.values()]
        lines.append(f"| {title(key)} | {judged_in or key.split()[2].rstrip(',')} | {' | '.join(found)} |")
    return "\n".join(lines) + "\n"


def title(key: str) -> str:
    """`foolbox DDNAttack l2, steps=10 200` as a reader writes it."""
    library, attack, *rest, count = key.split()
    given = " ".join(rest[1:])
    digits = f", {count} digits" if int(count) != DIGITS else ""
    return f"{library} {attack}{f' ({given})' if given else ''}{digits}"


def outcome(row: Row) -> str:
    if row.failed:
        return f"fails: {row.failed}"
    if not row.refused:
        return str(row.called)
    excess = f", by up to {row.excess:.2g}" if row.excess else ""
    return f"**{row.called}, of which refused {refusals(Counter(row.refused))}{excess}**"


def refusals(reasons: Counter[str]) -> str:
    if not reasons:
        return "0"
    said = ", ".join(f"{count} {reason}" for reason, count in reasons.most_common())
    return f"{reasons.total()}: {said}" if len(reasons) > 1 else said


def write(rows: list[Row]) -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    for (begin, end), table in ((KNOWN, known_table()), (REFUSALS, refusal_tables(rows))):
        before, rest = text.split(begin)
        text = before + begin + table + end + rest.split(end)[1]
    DOCUMENT.write_text(text, encoding="utf-8")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="attacks; all where none are named")
    parser.add_argument("--log", type=Path, default=Path("foreign-refusals.jsonl"))
    parser.add_argument("--write", action="store_true", help="write the tables of what is in the file; measure nothing")
    chosen = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    if chosen.write:
        write(logged(chosen.log))
        return 0
    every = [one for one in settings() if not chosen.names or one.attack in chosen.names]
    print(len(measured(chosen.log, every)), "rows")
    return 0


if __name__ == "__main__":
    sys.exit(main())
