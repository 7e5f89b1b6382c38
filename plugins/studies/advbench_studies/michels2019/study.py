"""The study of Michels et al. (2019, arXiv:1906.03612): what its parts are and where they lie."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from advbench import Absent, Analysis, Bound, Judged, Level, Number, Section, Study
from advbench_studies.michels2019 import bindings, claims, page, suites


@dataclass(frozen=True)
class Michels2019(Study):
    """Four attacks on capsule networks and convolutional ones: whose perturbations are smaller, and which transfer."""

    name = "michels2019"
    reference = "https://arxiv.org/abs/1906.03612"

    def abstract(self) -> str:
        return page.ABSTRACT

    def suites(self, level: Level) -> tuple[Mapping[str, Any], ...]:
        return suites.documents(level)

    def analyses(self, level: Level) -> tuple[Analysis, ...]:
        return bindings.analyses(level)

    def binding(self, number: Number, level: Level) -> Bound | Absent:
        return bindings.binding(number, level)

    def judges(self, level: Level) -> Mapping[str, Judged]:
        return claims.judges(level)

    def sections(self, level: Level) -> tuple[Section, ...]:
        return page.sections(level)
