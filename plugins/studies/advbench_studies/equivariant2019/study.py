"""Universal Attacks on Equivariant Networks (2019): the study."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from advbench import Absent, Analysis, Bound, Judged, Level, Number, Section, Study
from advbench_studies.equivariant2019 import bindings, claims, page, sizes
from advbench_studies.equivariant2019.architectures import Architectures
from advbench_studies.equivariant2019.networks import FOOLED, NETWORKS


@dataclass(frozen=True)
class UniversalAttacksOnEquivariantNetworks(Study):
    """One direction that fools plain and rotation-equivariant networks, found from a small sample of attacks."""

    name = "equivariant2019"
    reference = "Universal Attacks on Equivariant Networks, 2019, submitted to ICLR"

    def abstract(self) -> str:
        return page.ABSTRACT

    def suites(self, level: Level) -> tuple[Mapping[str, Any], ...]:
        return sizes.suites(level)

    def analyses(self, level: Level) -> tuple[Analysis, ...]:
        return (
            sizes.rates(),
            sizes.curves(level),
            Architectures(),
            sizes.top_shares(level),
            *(sizes.principal(network, level) for network in NETWORKS),
            *(sizes.smallest(network, level) for network in FOOLED),
        )

    def binding(self, number: Number, level: Level) -> Bound | Absent:
        return bindings.binding(number, level)

    def judges(self, level: Level) -> Mapping[str, Judged]:
        return claims.judges(level)

    def sections(self, level: Level) -> tuple[Section, ...]:
        return page.sections(level)
