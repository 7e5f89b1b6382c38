"""What is computed from it, at each level."""

from __future__ import annotations

from advbench import Analysis, Level, Rates, rate_name
from advbench_studies.billovits2016.depth import Depth
from advbench_studies.billovits2016.one_step import OneStep
from advbench_studies.billovits2016.patterns import Patterns
from advbench_studies.billovits2016.prior import Mitigated
from advbench_studies.billovits2016.suites import DEPTH, PATTERNS, PHOTOS, PRIOR, SIZES, strongest

STEP = "linf(eps=0.003333333333333333)"
"""The paper's ball, as its label has it."""
RATES = Rates(suite=DEPTH)
ON_PHOTOS = Rates(suite=PHOTOS)
OF_PATTERNS = Patterns(suite=PATTERNS)
BEHIND_PRIOR = Rates(suite=PRIOR)


def one_step(level: Level) -> OneStep:
    return OneStep(count=SIZES[level][0])


def depth_of_photos(level: Level) -> Depth:
    return Depth(count=SIZES[level][0])


def depth_of_digits(level: Level) -> Depth:
    return Depth(dataset="mnist", model="vgg-small", eps=0.1, count=min(SIZES[level][1], 500), pictures=4)


def mitigated(level: Level, *, aware: bool = False) -> Mitigated:
    return Mitigated(count=min(SIZES[level][1], 500), aware=aware)


def analyses(level: Level) -> tuple[Analysis, ...]:
    return (
        one_step(level),
        ON_PHOTOS,
        depth_of_photos(level),
        depth_of_digits(level),
        RATES,
        OF_PATTERNS,
        mitigated(level),
        mitigated(level, aware=True),
        BEHIND_PRIOR,
    )


def on_digits(metric: str, model: str, attack: str, threat: str) -> str:
    """The name of a rate of the suite of depths."""
    return rate_name(metric, dataset="mnist", target=model, attack=attack, threat=threat)


def on_photos(metric: str, level: Level, *, best: bool = False) -> str:
    attack = strongest(level) if best else "fgsm"
    return rate_name(metric, dataset="imagenet-samples", target="efficientnet-lite0", attack=attack, threat=STEP)
