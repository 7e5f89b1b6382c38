"""Qin et al. (2020): detecting adversarial images with class-conditional capsule reconstructions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from advbench import Absent, Analysis, Bound, Judged, Level, Number, Section, Study
from advbench_studies.qin2020 import bindings, claims, page, suites


@dataclass(frozen=True)
class Qin2020(Study):
    """Detection by what a capsule network redraws of its input, and attacks that know of it (Qin et al., 2020)."""

    name = "qin2020"
    reference = "https://arxiv.org/abs/1907.02957"

    def abstract(self) -> str:
        return page.ABSTRACT

    def suites(self, level: Level) -> tuple[Mapping[str, Any], ...]:
        return suites.suites(level)

    def analyses(self, level: Level) -> tuple[Analysis, ...]:
        return bindings.analyses(level)

    def binding(self, number: Number, level: Level) -> Bound | Absent:
        return bindings.bound(number, level)

    def judges(self, level: Level) -> Mapping[str, Judged]:
        return claims.judges(level)

    def sections(self, level: Level) -> tuple[Section, ...]:
        return page.sections(level)
