"""The study of D'Costa and Sriramanan's report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from advbench import Absent, Analysis, Bound, Judged, Level, Number, Section, Study
from advbench_studies.dcosta2019 import bindings, claims, page
from advbench_studies.dcosta2019.analyses import all_analyses
from advbench_studies.dcosta2019.suites import all_suites


@dataclass(frozen=True)
class DCosta2019(Study):
    """Adversarial Examples for CNNs: how perturbations carry over, and what training in one ball helps in another."""

    name = "dcosta2019"
    reference = "D'Costa and Sriramanan, 2019: Adversarial Examples for CNNs"

    def abstract(self) -> str:
        return page.ABSTRACT

    def suites(self, level: Level) -> tuple[Mapping[str, Any], ...]:
        return all_suites(level)

    def analyses(self, level: Level) -> tuple[Analysis, ...]:
        return all_analyses(level)

    def binding(self, number: Number, level: Level) -> Bound | Absent:
        return bindings.binding(number, level)

    def judges(self, level: Level) -> Mapping[str, Judged]:
        return claims.judges(level)

    def sections(self, level: Level) -> tuple[Section, ...]:
        return page.sections(level)
