"""What is run: the paper's step on photos, networks of growing depth at equal eps, dropout, patterns, the prior."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from advbench import Level

PHOTOS, DEPTH, PATTERNS, PRIOR = "photos", "depth", "patterns", "prior"
SMALL_STEP = "linf(eps=0.85/255)"
"""The paper's, on its 0 to 255 scale."""
BALLS = ("linf(eps=0.1)", "linf(eps=0.25)")
"""On digits; the larger one is that of Goodfellow et al."""
SHALLOW, PLAIN, WITHOUT_DROPOUT, DEEPEST = "softmax", "vgg-small", "vgg-small(dropout=0)", "convnet"
DEEP = (PLAIN, DEEPEST)
SIZES = {"smoke": (4, 24, 3), "hour": (100, 1000, 20), "paper": (100, 10000, 100)}
"""Photos, digits, and patterns, by level."""


def strongest(level: Level) -> str:
    """The strongest attack that the level can afford on every network here."""
    return "pgd(steps=3)" if level == "smoke" else "apgd"


def suites(level: Level) -> tuple[Mapping[str, Any], ...]:
    photos, digits, patterns = SIZES[level]
    attacks = ["fgsm", strongest(level)]
    climb = {"rubbish": {"steps": 20}} if level == "smoke" else "rubbish"
    evolve = {"cppn": {"generations": 5, "population": 4}} if level == "smoke" else "cppn"
    return (
        {
            "name": PHOTOS,
            "data": "imagenet-samples",
            "models": ["efficientnet-lite0"],
            "attacks": attacks,
            "threats": [SMALL_STEP],
            "examples": photos,
            "shard": 10,
            "stop": "end",
        },
        {
            "name": DEPTH,
            "data": "mnist",
            "models": [SHALLOW, PLAIN, WITHOUT_DROPOUT, DEEPEST],
            "attacks": attacks,
            "threats": list(BALLS),
            "examples": digits,
            "stop": "end",
        },
        {
            "name": PATTERNS,
            "data": "mnist",
            "models": list(DEEP),
            "attacks": [climb, evolve],
            "threats": ["box(eps=1)"],
            "goals": ["random"],
            "examples": patterns,
        },
        {
            "name": PRIOR,
            "data": "mnist",
            "models": [PLAIN],
            "defenses": ["none", "kde-prior"],
            "attacks": attacks,
            "threats": ["linf(eps=0.1)"],
            "examples": min(digits, 500),
            "stop": "end",
        },
    )
