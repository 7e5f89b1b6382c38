"""Hitting Depth (Billovits, Eric and Agarwala, 2016), as a study."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from advbench import Absent, Analysis, Bound, Judged, Level, Number, Section, Study
from advbench_studies.billovits2016 import analyses, bindings, claims, page, suites


@dataclass(frozen=True)
class Billovits2016(Study):
    """Hitting Depth: one step on photos, four kinds of examples, a density prior (Billovits et al., 2016)."""

    name = "billovits2016"
    reference = "Billovits, Eric and Agarwala, 2016: Hitting Depth"

    def abstract(self) -> str:
        return page.ABSTRACT.strip()

    def suites(self, level: Level) -> tuple[Mapping[str, Any], ...]:
        return suites.suites(level)

    def analyses(self, level: Level) -> tuple[Analysis, ...]:
        return analyses.analyses(level)

    def binding(self, number: Number, level: Level) -> Bound | Absent:
        return bindings.binding(number, level)

    def judges(self, level: Level) -> Mapping[str, Judged]:
        return claims.judges(level)

    def sections(self, level: Level) -> tuple[Section, ...]:
        return page.sections(level)
