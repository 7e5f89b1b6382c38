"""Which finding stands beside each number of the paper, and why some have none."""

from __future__ import annotations

from advbench import L2, Absent, Analysis, Bound, Level, Number, Rates, rate_name
from advbench_studies.michels2019.accuracies import Accuracies
from advbench_studies.michels2019.figure1 import Triptychs
from advbench_studies.michels2019.kinds import Kin, Kinds
from advbench_studies.michels2019.networks import DATASETS, network
from advbench_studies.michels2019.reaches import Reaches
from advbench_studies.michels2019.readings import Readings, digest
from advbench_studies.michels2019.smallest import Smallest
from advbench_studies.michels2019.suites import DEEPFOOL, ENSEMBLE, SIZES
from advbench_studies.michels2019.universals import Strides, Universals

ATTACKS = ("CW", "Boundary", "DeepFool")
"""The paper's attacks on images one by one."""
NO_NETWORKS = {
    "svhn": "SVHN: 580 of its 73,257 training digits were to be had where the networks that ship were trained, so "
    "none ship for it. The level `paper` trains them where the data set is whole, which takes a GPU.",
    "cifar10": "CIFAR-10: 5,085 of its 50,000 training photos were to be had where the networks that ship were "
    "trained, so none ship for it. The level `paper` trains them where the data set is whole, which takes a GPU.",
}


def analyses(level: Level) -> tuple[Analysis, ...]:
    """All that is computed at a level, in order."""
    made: list[Analysis] = []
    for dataset in SIZES[level].datasets:
        made += [
            accuracies(level, dataset),
            Rates(suite=dataset),
            universals(level, dataset),
            Readings(dataset=dataset, paper=digest()),
            Triptychs(dataset=dataset),
            kinds(level, dataset),
            Strides(dataset=dataset),
            Smallest(dataset=dataset),
            Reaches(dataset=dataset),
        ]
    return (*made, Kin())


def accuracies(level: Level, dataset: str) -> Accuracies:
    return Accuracies(dataset=dataset, count=SIZES[level].tested or 0)


def universals(level: Level, dataset: str) -> Universals:
    return Universals(dataset=dataset, noisy=16 if level == "smoke" else 128)


def kinds(level: Level, dataset: str) -> Kinds:
    return Kinds(dataset=dataset, steps=300 if level == "smoke" else 1000)


def binding(number: Number, level: Level) -> Bound | Absent:
    """The finding beside a number of tables 1 to 3; the figures have no numbers."""
    said = {name: str(value) for name, value in number.columns.items()}
    dataset = DATASETS[said["dataset"]]
    if dataset not in SIZES[level].datasets:
        return Absent(NO_NETWORKS[dataset])
    if number.place == "Table 3":
        return Bound(accuracies(level, dataset), f"right · {said['network']}")
    if number.place == "Table 1":
        return size(level, dataset, said["attack"], said["network"])
    if number.place == "Table 2":
        return transfer(level, dataset, said["attack"], said["computed_on"], said["evaluated_on"])
    return Absent(f"{number.place}: no number is read from it")


def size(level: Level, dataset: str, attack: str, kind: str) -> Bound:
    """The mean l2 norm of an attack on a network."""
    if attack == "Universal":
        return Bound(universals(level, dataset), f"norm · {kind}")
    return Bound(Rates(suite=dataset), _named("size", level, dataset, attack, kind))


def transfer(level: Level, dataset: str, attack: str, source: str, asked: str) -> Bound:
    """How often what was made for one network reaches its goal on the other, whose clean errors count."""
    if attack == "Universal":
        return Bound(universals(level, dataset), f"wrong · {source} on {asked}")
    return Bound(Rates(suite=dataset), _named("transferred", level, dataset, attack, source, asked))


def anew(level: Level, dataset: str, attack: str, source: str, asked: str) -> Bound:
    """The same among the images that the other network gets right when clean."""
    if attack == "Universal":
        return Bound(universals(level, dataset), f"fooled · {source} on {asked}")
    return Bound(Rates(suite=dataset), _named("fooled", level, dataset, attack, source, asked))


def _named(metric: str, level: Level, dataset: str, attack: str, kind: str, asked: str = "") -> str:
    sizes = SIZES[level]
    label = {"CW": sizes.cw, "Boundary": sizes.boundary, "DeepFool": DEEPFOOL}[attack]
    return rate_name(
        metric,
        dataset=dataset,
        target=network(kind, dataset),
        attack=label,
        goal="random" if attack == "CW" else "untargeted",
        threat="l2",
        on=network(asked, dataset) if asked else "",
    )


def stronger(
    metric: str, level: Level, dataset: str, place: int, kind: str, *, goal: str = "untargeted", asked: str = ""
) -> Bound:
    """The same of one of the stronger attacks that look for the smallest perturbation."""
    on = network(asked, dataset) if asked else ""
    label = SIZES[level].strong[place]
    target = network(kind, dataset)
    name = rate_name(metric, dataset=dataset, target=target, attack=label, goal=goal, threat="l2", on=on)
    return Bound(Rates(suite=dataset), name)


def ensemble(level: Level, dataset: str, kind: str) -> Bound:
    """Which share of the images that a network gets right autoattack turns."""
    target, ball = network(kind, dataset), L2(eps=ENSEMBLE[dataset]).label
    name = rate_name("fooled", dataset=dataset, target=target, attack=SIZES[level].ensemble, threat=ball)
    return Bound(Rates(suite=dataset), name)
