"""A study of one table, one figure and three claims, on made images: what the tests of studies perform."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from advbench import (
    Absent,
    Analysis,
    Bound,
    Chart,
    Finding,
    Findings,
    Gallery,
    Inputs,
    Judged,
    Level,
    Material,
    Number,
    Ours,
    Picture,
    Rates,
    Section,
    Series,
    Study,
    Table,
    Wanted,
    above,
    less,
    mean,
    rate_name,
)
from advbench.store import Store
from advbench.store.study_rows import found, performed

PUBLISHED = """
paper: {title: On toys, year: 2020, key: toy}
tables:
- id: Table 1
  caption: fooling
  unit: percent
  rows:
  - {attack: PGD, network: small, metric: fooling, value: 50.0}
  - {attack: CW, network: large, metric: fooling, value: 12}
figures:
- id: Figure 1
  shows: how logits fall
  numbers:
  - {name: highest, value: about 3}
claims:
- {id: toy-1, claim: FGSM fools, evidence: Table 1, test: the share}
- {id: toy-2, claim: FGSM fools less than PGD, evidence: Table 1, test: both shares}
- {id: toy-3, claim: what nobody can test, evidence: none, test: none}
"""

SUITE = "table-1"
LINF = "linf(eps=0.1)"
RATES = Rates(suite=SUITE)


@dataclass(frozen=True)
class Logits(Analysis):
    """The mean of the highest logit, a curve of it, and the first image."""

    name = "logits"

    count: int = 8

    @property
    def inputs(self) -> Inputs:
        return Inputs(suites=(SUITE,), targets=(Wanted("mnist-5k", "small-cnn"),), data=("mnist-5k",))

    def find(self, material: Material) -> Findings:
        examples = material.data("mnist-5k").judge[: self.count]
        with torch.no_grad():
            top = material.target("mnist-5k", "small-cnn").logits(examples.pixels(material.device)).amax(1).tolist()
        fgsm = material.cell(SUITE, attack="fgsm").perturbed(2)
        noise = material.draws("noise").uniform(1, 4, 4)
        return Findings(
            (mean("highest", top),),
            (Series.of("logit", enumerate(top)),),
            (Picture("first", fgsm.images[0]), Picture("noise", noise[0], of_data=False)),
        )


def rate(attack: str, metric: str = "fooled") -> str:
    return rate_name(metric, dataset="mnist-5k", target="small-cnn", attack=attack, threat=LINF)


@dataclass(frozen=True)
class Toy(Study):
    """A toy."""

    name = "toy"
    reference = "https://example.org/toy"

    @property
    def published(self) -> str:
        return PUBLISHED

    def abstract(self) -> str:
        return "Toys fall over."

    def suites(self, level: Level) -> tuple[Mapping[str, Any], ...]:
        return (
            {
                "name": SUITE,
                "data": "mnist-5k",
                "models": ["small-cnn"],
                "attacks": ["fgsm", "pgd(steps=3)"],
                "threats": [LINF],
                "examples": 16,
            },
        )

    def analyses(self, level: Level) -> tuple[Analysis, ...]:
        return (RATES, Logits())

    def binding(self, number: Number, level: Level) -> Bound | Absent:
        if number.place == "Figure 1":
            return Bound(Logits(), "highest")
        if number.columns["attack"] == "CW":
            return Absent("nobody wrote it")
        return Bound(RATES, rate("pgd(steps=3)"))

    def judges(self, level: Level) -> Mapping[str, Judged]:
        return {
            "toy-1": Judged(lambda book: above(book(RATES, rate("fgsm")), 0), why="one attack is enough"),
            "toy-2": Judged(
                lambda book: less(book(RATES, rate("fgsm")), book(RATES, rate("pgd(steps=3)"))),
                lambda book: less(book(RATES, rate("fgsm")), book(RATES, rate("pgd(steps=3)"))),
            ),
            "toy-3": Judged(lambda book: above(book(RATES, "nothing"), 0), why="no attack is named"),
        }

    def sections(self, level: Level) -> tuple[Section, ...]:
        return (
            Section("Fooling", "What fools.", (Table("Table 1"), Ours("All rates", RATES))),
            Section("Logits", "", (Chart("Figure 1", Logits(), x="example", y="logit"), Gallery("Figure 1", Logits()))),
        )


@dataclass(frozen=True)
class Slow(Analysis):
    """Takes its time, so that it can be cut off."""

    name = "slow"

    seconds: float = 0.0

    @property
    def inputs(self) -> Inputs:
        return Inputs(suites=(SUITE,))

    def find(self, material: Material) -> Findings:
        total = 0.0
        for step in range(20):
            material.progress(step / 20, "counting")
            total += float(material.draws(f"step {step}").uniform(1).sum())
            time.sleep(self.seconds / 20)
        return Findings((Finding("total", total),), (Series.of("steps", [(0, total)]),))


@dataclass(frozen=True)
class Slowly(Toy):
    """The toy with analyses between which, and within which, it can be cut off."""

    seconds: float = 0.0

    def analyses(self, level: Level) -> tuple[Analysis, ...]:
        return (RATES, Slow(self.seconds), Logits(), Logits(count=4))


def told(store: Store) -> list[Any]:
    """All that studies say in a database, without clocks."""
    rows = [vars(one.row) | {"number": one.number} for one in performed(store)]
    keys = [row["key"] for row in store.rows("SELECT key FROM analyses ORDER BY label")]
    return [
        rows,
        [(key, found(store, key)) for key in keys],
        [(one.analyses, one.published, one.claims) for one in performed(store)],
    ]
