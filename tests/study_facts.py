"""A study with everything that its page can show, written into a database without being performed."""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import yaml

from advbench import (
    Absent,
    Analysis,
    Bound,
    Chart,
    Findings,
    Gallery,
    Inputs,
    Judged,
    Level,
    Material,
    Number,
    Ours,
    Section,
    Study,
    Table,
)
from advbench.store import Store
from advbench.store.study_rows import (
    AnalysisRow,
    ClaimRow,
    FindingRow,
    Found,
    PictureRow,
    PointRow,
    PublishedRow,
    StudyAnalysisRow,
    StudyRow,
    add_analysis,
    add_study,
)
from advbench.studies.published import publication
from advbench.studies.recording import page_of
from advbench.study import Missing

NETWORKS, ATTACKS, DATASETS = ("convnet", "capsnet"), ("fgsm", "cw", "deepfool"), ("shapes", "letters", "photos", "sky")
LARGE = (3, 64, 64)
"""The shape of a picture that is too large to lie within a page."""


@dataclass(frozen=True)
class Counted(Analysis):
    """Its findings are written by hand here; nobody performs it."""

    name: ClassVar[str] = "counted"

    of: str = ""

    @property
    def label(self) -> str:
        return f"counted {self.of}"

    @property
    def inputs(self) -> Inputs:
        return Inputs()

    def find(self, material: Material) -> Findings:
        raise AssertionError("pages perform nothing")


@dataclass(frozen=True)
class Shapes(Study):
    """A paper on shapes, which says `evil` wherever a paper or an author may say anything."""

    name = "shapes"
    reference = "Workshop on Shapes, page 3"

    evil: str = ""

    @property
    def published(self) -> str:
        e = self.evil
        rows = [
            {"attack": f"{a}{e}", "network": n, "dataset": d, "metric": "fooling_rate", "value": 40.0 + 10 * i + j}
            for i, a in enumerate(ATTACKS)
            for n in NETWORKS
            for j, d in enumerate(DATASETS)
        ]
        rows[0]["note"] = f"printed twice{e}"
        sizes = [
            {"attack": a, f"network{e}": f"{n}{e}", "metric": "mean_l2_norm", "value": 1.25 + i}
            for i, a in enumerate(ATTACKS)
            for n in NETWORKS
        ]
        sizes.append({**sizes[0], "value": f"about 2{e}"})  # the paper says it twice
        return yaml.safe_dump(
            {
                "paper": {"title": f"On shapes{e}", "year": 2020, "key": f"shapes{e}", "venue": f"a workshop{e}"}
                | {"note": f"a report{e}"},
                "tables": [
                    {"id": "Table 1", "caption": f"fooled{e}", "unit": "percent", "note": f"two readings{e}"}
                    | {"rows": rows},
                    {"id": "Table 2", "caption": "sizes", "unit": f"l2{e}", "rows": sizes},
                    {"id": "Table 3", "unit": "percent", "rows": [{"network": "capsnet", "value": 3}]},
                    {"id": "Table 4", "rows": [{"network": f"n{i}{e}", "value": 1e-13, "unit": "s"} for i in (1, 2)]},
                ],
                "figures": [
                    {
                        "id": "Figure 1",
                        "shows": f"curves{e}",
                        "numbers": [{"name": f"peak{e}", "value": f"about 3{e}"}],
                    },
                    {"id": "Figure 2", "shows": "marks"},
                    {"id": "Figure 3", "shows": "bars"},
                    {"id": "Figure 4", "shows": "pictures"},
                    {"id": "Figure 5", "shows": f"an idea{e}"},
                    {"id": "Figure 6", "shows": "what nobody measured"},
                ],
                "claims": [
                    {"id": f"shapes-{i}", "claim": f"claim {i}{e}", "evidence": f"Table {i}{e}", "test": f"count{e}"}
                    | {"agrees_with_own_tables": f"in part{e}"}
                    for i in (1, 2, 3, 4)
                ],
            },
            sort_keys=False,
        )

    def abstract(self) -> str:
        return f"Shapes fall over{self.evil}."

    def suites(self, level: Level) -> tuple[Mapping[str, Any], ...]:
        return ()

    def analyses(self, level: Level) -> tuple[Analysis, ...]:
        return (self.rates, self.lacking)

    @property
    def rates(self) -> Counted:
        return Counted(f"rates{self.evil}")

    @property
    def lacking(self) -> Counted:
        return Counted("what is lacking")

    def binding(self, number: Number, level: Level) -> Bound | Absent:
        return Absent("asked of nobody")

    def judges(self, level: Level) -> Mapping[str, Judged]:
        return {}

    def sections(self, level: Level) -> tuple[Section, ...]:
        e, rates = self.evil, self.rates
        curve = tuple((float(x), 1.0 + x / 5) for x in range(5))
        return (
            Section(
                f"Fooling{e}",
                f"What fools{e}.\n\nAnd what does not.",
                (
                    Table("Table 1"),
                    Table("Table 2", across=f"network{e}"),
                    Missing("Table 3", f"no such network{e}"),
                    Ours(f"All rates{e}", rates, ("rate*",), f"stronger attacks{e}"),
                    Ours("Rates that are not there", rates, ("nothing",)),
                ),
            ),
            Section(
                "Figures",
                shows=(
                    Chart("Figure 1", rates, (f"curve{e}", "band"), f"step{e}", f"loss{e}", "lines", f"as drawn{e}")
                    if level == "smoke"
                    else Chart(
                        "Figure 1",
                        rates,
                        (f"curve{e}", "band"),
                        f"step{e}",
                        f"loss{e}",
                        "lines",
                        f"as drawn{e}",
                        ((f"curve{e}", curve), (f"theirs alone{e}", curve)),
                    ),
                    Gallery("Figure 1", rates, ("noise",)),
                    Chart("Figure 2", rates, ("mark*",), kind="marks"),
                    Chart("Figure 3", rates, ("bar*",), kind="bars", published=(("bar 0", ((1.0, 3.5),)),)),
                    Gallery("Figure 4", rates, (), f"drawn by chance{e}"),
                    Chart("Figure 5", self.lacking, caption="never drawn"),
                    Gallery("Figure 5", self.lacking),
                    Ours("Of what is lacking", self.lacking),
                ),
            ),
        )


def fill(store: Store, evil: str = "") -> None:
    """The study at two levels; of 35 published numbers three are within, one is outside, two beside."""
    study = Shapes(evil)
    label = study.rates.label
    key = f"analysis{len(evil)}"
    add_analysis(
        store,
        AnalysisRow(key, "counted", label, {"of": f"rates{evil}"}, {}, {}, 0, 2.5, None, None),
        Found(findings(evil), points(evil), pictures(evil)),
    )
    published = publication(study)
    rows = [row(number, label, evil) for number in published.numbers]
    verdicts = [("holds", "holds"), ("fails", "undecided"), ("undecided", "fails"), ("holds", None)]
    long = f"2 of 40 hold{evil}: " + "; ".join(f"rate {i} 12.5 [10, 15] < 3 (fails)" for i in range(40))
    claims = [
        ClaimRow(one.id, one.claim, one.evidence, one.test, one.agrees, verdict, long, strongest, f"why{evil}")
        for one, (verdict, strongest) in zip(published.claims, verdicts, strict=True)
    ]
    levels: tuple[Level, ...] = ("smoke", "hour")
    for level in levels:
        paper = {**published.paper, "reference": f"javascript:alert(1){evil}" if evil else study.reference}
        add_study(
            store,
            StudyRow(level, f"{study.name}{evil}", level, paper, page_of(study, level, published), {}, 0, None),
            [
                StudyAnalysisRow(label, key, None),
                StudyAnalysisRow(study.lacking.label, None, f"photos are not on this machine{evil}"),
            ],
            rows,
            claims,
        )


def findings(evil: str) -> list[FindingRow]:
    return [
        FindingRow("near", 40.4, 38.0, 44.0, 100, "percent"),
        FindingRow("far", 90.0, 85.0, 93.0, 100, "percent"),
        FindingRow("bare", 43.0, None, None, None, "percent"),
        FindingRow("size", 1.3, 1.2, 1.4, 20, f"l2{evil}"),
        FindingRow("unknown", None, None, None, 0, "percent"),
        *(FindingRow(f"rate · {i} · shapes{evil}", 5.0 + i, 4.0 + i, 6.5 + i, 40 + i, "percent") for i in range(25)),
    ]


def row(number: Number, label: str, evil: str) -> PublishedRow:
    """Bound by what its row says; what has nothing of ours says why."""
    finding = absent = None
    said = number.columns
    if number.place == "Table 1":
        names = {"shapes": "near", "letters": "far", "photos": "bare", "sky": "unknown"}
        attack = str(said["attack"]).removesuffix(evil) if evil else said["attack"]
        finding, absent = (names[said["dataset"]], None) if attack == "fgsm" else (None, f"nobody wrote it{evil}")
    elif number.place == "Table 2":
        finding = {"fgsm": "size", "cw": "near"}.get(str(said["attack"]))
        absent = None if finding else "no such finding"
    else:
        absent = f"another network{evil}"
    value, words = (number.value, None) if isinstance(number.value, float) else (None, number.value)
    return PublishedRow(
        number.place,
        number.position,
        [[name, one] for name, one in number.columns.items()],
        value,
        words,
        number.decimals,
        number.unit,
        label if finding else None,
        finding,
        absent,
    )


def points(evil: str) -> list[PointRow]:
    made = [PointRow(0, x, f"curve{evil}", x, 3.0 - x / 2, 2.5 - x / 2, 3.5 - x / 2) for x in range(5)]
    made += [
        PointRow(1, i, "band", i / 20, math.sin(i / 10), math.sin(i / 10) - 0.3, math.sin(i / 10) + 0.3)
        for i in range(81)
    ]
    for series in range(10):
        made += [
            PointRow(2 + series, i, f"mark {series}", series + math.cos(i), 1e-4 * math.sin(i), None, None)
            for i in range(7)
        ]
    for series in range(3):
        made += [
            PointRow(12 + series, i, f"bar {series}", float(i), 1.0 + i + series, 0.5 + i + series, 1.5 + i + series)
            for i in range(4)
        ]
    return made


def pictures(evil: str) -> list[PictureRow]:
    grey = bytes(range(0, 250, 10))
    channels, height, width = LARGE
    large = bytes((x * y * 7919) % 251 for y in range(height) for x in range(channels * width))
    return [
        PictureRow(f"first{evil}", f"of class x{evil}", 1, 5, 5, zlib.compress(grey)),
        PictureRow("noise", "", 1, 5, 5, zlib.compress(grey[::-1])),
        PictureRow("large", "in colour", *LARGE, zlib.compress(large)),
        PictureRow("broken", "", 1, 5, 5, b"no zlib"),
        PictureRow("cut off", "", 1, 6, 6, zlib.compress(grey)),
        PictureRow("huge", "", 3, 4096, 4096, zlib.compress(grey)),
    ]
