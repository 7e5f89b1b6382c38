"""What is run: the paper's four attacks, stronger ones, and two controls; sizes by level.

Attacks are written as their labels are, since findings are named by them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from advbench import L2, Level
from advbench_studies.michels2019.networks import DATASETS, GREY, KIN, KINDS, network

Document = dict[str, Any]

DRAWN: Mapping[str, Any] = {"drawn": 0}
"""Added to every ball that takes a part of the test set: it is drawn at random, as in the paper."""
FROM = "drawn at random from the test set by a seed, as in the paper"
"""Where images come from, in words; the paper draws them at random."""

DEEPFOOL = "deepfool(compare=every, projections=0, bisections=0)"
"""The paper's: it ends at the first point across, and compares all boundaries in every step."""
UNBOUNDED = L2(eps=20.0)
"""A ball that no perturbation of the paper leaves: the size of a universal one is then its own."""
WIDTH = 64
"""Images of a shard: no more than fill a pass, so that processes share a cell."""
BOARDS = (3.0, 0.9, 0.6, 0.8)
"""Radii of the boards of attacks that look for the smallest perturbation, and to which they do not matter."""
FMN, BRENDEL_BETHGE = 0, 1
"""Places in `Sizes.strong`."""


@dataclass(frozen=True)
class Sizes:
    """How much is computed at a level."""

    cw: str
    cw_images: int
    boundary: str
    images: int
    """Of boundary and deepfool."""
    universal_images: int | None
    """None for the whole test set."""
    parts: int
    steps: int
    """Of `universal`, at most."""
    coarse: int
    """How many times as long as `STRIDES` its steps are."""
    strong: tuple[str, ...]
    """Attacks that look for the smallest perturbation."""
    strong_images: int
    ensemble: str
    ensemble_images: int
    epochs: int
    """Of `universal-pgd`."""
    longer: tuple[int, ...]
    """So many times as long are the steps of the control: the paper says nothing of their length."""
    tested: int | None
    """Test images of table 3; None for all."""
    one_radius: bool = False
    """Whether `universal-pgd` is given the middle one of `RADII` alone."""
    datasets: tuple[str, ...] = GREY


SIZES: dict[Level, Sizes] = {
    "smoke": Sizes(
        cw="cw(rounds=2, steps=12, kappa=1)",
        cw_images=4,
        boundary="boundary(queries=200)",
        images=3,
        universal_images=16,
        parts=3,
        steps=16,
        coarse=6,
        strong=("fmn(steps=5, rivals=2)", "brendel-bethge(steps=3, targets=1, far=1, clean=5, kept=1)"),
        strong_images=4,
        ensemble="autoattack(steps=3, targets=1, queries=10)",
        ensemble_images=4,
        epochs=6,
        longer=(3,),
        tested=32,
        one_radius=True,
    ),
    "hour": Sizes(
        cw="cw(kappa=1)",
        cw_images=100,
        boundary="boundary(queries=1000)",
        images=200,
        universal_images=1000,
        parts=10,
        steps=400,
        coarse=1,
        strong=("fmn", "brendel-bethge"),
        strong_images=24,
        ensemble="autoattack",
        ensemble_images=24,
        epochs=10,
        longer=(3, 6),
        tested=None,
    ),
    "paper": Sizes(
        cw="cw(rounds=9, steps=1000, kappa=1)",
        cw_images=500,
        boundary="boundary",
        images=1000,
        universal_images=None,
        parts=10,
        steps=400,
        coarse=1,
        strong=("fmn", "brendel-bethge"),
        strong_images=500,
        ensemble="autoattack",
        ensemble_images=1000,
        epochs=10,
        longer=(3, 6),
        tested=None,
        datasets=tuple(DATASETS.values()),
    ),
}

RADII = {
    "mnist": (1.5, 2.5, 4.0),
    "fashion-mnist": (0.75, 1.5, 2.5),
    "svhn": (1.0, 2.0, 4.0),
    "cifar10": (1.0, 2.0, 4.0),
}
"""Where `universal-pgd` is tried: around the norms at which the paper's attack ends, here or in table 1."""
ENSEMBLE = {"mnist": 0.75, "fashion-mnist": 0.3, "svhn": 0.3, "cifar10": 0.15}
"""Where `autoattack` is tried: radii at which some images are still right."""
STRIDES = {"mnist": 0.015, "fashion-mnist": 0.015, "svhn": 0.03, "cifar10": 0.03}
"""Length of one FGSM step in radii of `UNBOUNDED`: about 0.011 of the pixels' range a pixel, 2.7 of 255 grey levels."""


KIN_SUITE = "kin-mnist"
"""The suite of the paper's universal attack on another network of each kind."""


def universal_attack(level: Level, dataset: str, part: int, longer: int = 1) -> str:
    """The paper's attack on one of the parts of the images that are judged."""
    sizes = SIZES[level]
    stride = STRIDES[dataset] * sizes.coarse * longer
    step = f"step={stride:g}, " if stride != 0.1 else ""  # its default
    steps = f"steps={sizes.steps}, " if sizes.steps != 100 else ""
    own = f"part={part}, " if part else ""
    return f"universal({steps}{step}rule=sign, {own}parts={sizes.parts})"


def universal_pgd(level: Level) -> str:
    epochs = SIZES[level].epochs
    return "universal-pgd" if epochs == 10 else f"universal-pgd(epochs={epochs})"


def radii(level: Level, dataset: str) -> tuple[float, ...]:
    """Where `universal-pgd` is tried at a level."""
    return RADII[dataset][1:2] if SIZES[level].one_radius else RADII[dataset]


def documents(level: Level) -> tuple[Document, ...]:
    """A suite for each data set, called like it, so that one that is not here takes no other along; and the control."""
    return (*(_of(level, dataset) for dataset in SIZES[level].datasets), _kin(level))


def _of(level: Level, dataset: str) -> Document:
    """The paper's attacks, the control with longer steps, and stronger attacks, on the networks of both kinds."""
    sizes = SIZES[level]
    longer = [universal_attack(level, dataset, 0, times) for times in sizes.longer]
    balls = [
        _ball(BOARDS[0], [sizes.cw], sizes.cw_images, "random"),
        _ball(BOARDS[1], [sizes.boundary, DEEPFOOL], sizes.images),
        _ball(BOARDS[2], [*sizes.strong], sizes.strong_images),
        _ball(BOARDS[3], [sizes.strong[BRENDEL_BETHGE]], sizes.strong_images, "random"),
        _ball(ENSEMBLE[dataset], [sizes.ensemble], sizes.ensemble_images),
        _ball(UNBOUNDED.eps, _parts(level, dataset) + longer, sizes.universal_images),
        *(_ball(radius, [universal_pgd(level)], sizes.universal_images) for radius in radii(level, dataset)),
    ]
    return _suite(dataset, dataset, [network(kind, dataset) for kind in KINDS], balls)


def _kin(level: Level) -> Document:
    balls = [_ball(UNBOUNDED.eps, _parts(level, "mnist"), SIZES[level].universal_images)]
    return _suite(KIN_SUITE, "mnist", list(KIN.values()), balls)


def _parts(level: Level, dataset: str) -> list[str]:
    return [universal_attack(level, dataset, part) for part in range(SIZES[level].parts)]


def _suite(name: str, dataset: str, models: list[str], balls: list[Document]) -> Document:
    """Universal perturbations are fitted on the images that are judged, as in the paper."""
    return {"name": name, "data": dataset, "models": models, "fit": "judge", "shard": WIDTH, "threats": balls}


def _ball(radius: float, attacks: list[str], images: int | None, goal: str = "untargeted") -> Document:
    some = {} if images is None else {"examples": images, **DRAWN}
    return {"l2": {"eps": radius, "attacks": attacks, "goals": [goal], **some}}
