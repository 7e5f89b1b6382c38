"""What is performed at each level."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from advbench import Level, Rates
from advbench_studies.equivariant2019.networks import DATA, FOOLED, NETWORKS
from advbench_studies.equivariant2019.principal import Principal
from advbench_studies.equivariant2019.stronger import SUITE as SMALLEST
from advbench_studies.equivariant2019.stronger import Smallest
from advbench_studies.equivariant2019.strongest import SUITE as UNIVERSAL
from advbench_studies.equivariant2019.strongest import UniversalCurves
from advbench_studies.equivariant2019.top_shares import TopShares

STRONGEST = "universal-pgd"
PAPERS = "spectral"
"""The paper's attack as an entrant of the benchmark: it runs under the referee, with the clip."""
UNIVERSAL_NORMS: Mapping[Level, tuple[float, ...]] = {
    "smoke": (2.0, 4.0),
    "hour": (1.0, 2.0, 3.0, 4.0, 6.0, 8.0),
    "paper": (0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0),
}
JUDGED: Mapping[Level, int] = {"smoke": 32, "hour": 2000, "paper": 10_000}
"""Images that universal vectors are tried on: at every level the first ones, by both ways."""
MINIMAL: Mapping[Level, int] = {"smoke": 24, "hour": 1000, "paper": 10_000}


def suites(level: Level) -> tuple[Mapping[str, Any], ...]:
    shared = {"data": DATA, "models": [NETWORKS[network].model for network in FOOLED], "defenses": ["augment"]}
    return (
        {
            **shared,
            "name": UNIVERSAL,
            "attacks": [STRONGEST, PAPERS],
            "threats": [ball(norm) for norm in UNIVERSAL_NORMS[level]],
            "examples": JUDGED[level],
            "fit": "judge",
        },
        {
            **shared,
            "name": SMALLEST,
            "attacks": [smallest(FOOLED[0], level).attack],
            "threats": [ball(2.0)],
            "examples": MINIMAL[level],
        },
    )


def ball(norm: float) -> str:
    return f"l2(eps={norm:g})"


def rates() -> Rates:
    return Rates(suite=UNIVERSAL)


def curves(level: Level) -> UniversalCurves:
    return UniversalCurves(norms=UNIVERSAL_NORMS[level])


def principal(network: str, level: Level) -> Principal:
    if level == "smoke":
        return Principal(
            network=network,
            rows=32,
            deepfool=32 if network != "RotEqNet" else 20,
            samples=(8, 16),
            draws=2,
            tested=32,
            randoms=2,
            norms=(2.0, 4.0, 8.0),
            sampled=(4, 8, 16),
        )
    if level == "hour":
        if network == "RotEqNet":  # its passes cost 27 times as much as StdCNN's
            return Principal(
                network=network,
                deepfool=1000,
                draws=1,
                tested=500,
                randoms=2,
                norms=(1.0, 2.0, 4.0, 6.0, 8.0),
                sampled=(10, 100, 1000),
            )
        return Principal(network=network)
    return Principal(network=network, draws=10, tested=10_000, randoms=10)


def top_shares(level: Level) -> TopShares:
    return TopShares(rows=32) if level == "smoke" else TopShares()


def smallest(network: str, level: Level) -> Smallest:
    if level == "smoke":
        return Smallest(network=network, attack="fmn(steps=10)", sample=12, sampled=(4, 8), draws=2)
    return Smallest(network=network, draws=3 if level == "hour" else 10)
