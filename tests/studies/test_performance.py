"""A study performed: kept, cut off and gone on with, failing in parts, and doubted."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import pytest
from toy_study import RATES, SUITE, Logits, Slowly, Toy, rate, told

from advbench import Analysis, Finding, Findings, Inputs, Level, Material, Picture, Rates
from advbench.plugins.discovery import discover
from advbench.plugins.registry import Registry
from advbench.rates.studies import standing
from advbench.run.report import Reporter
from advbench.run.session import Settings
from advbench.store import Store
from advbench.store.study_rows import analysis, findings, performed
from advbench.studies.performance import Performance, outline, perform_study
from advbench.study import Study

MISSPELT = (RATES.label, "found nothing that is called 'nothing'")
"""A claim of the toy asks for what is not there."""


@pytest.fixture(scope="module")
def registry() -> Registry:
    return discover()


def played(study: Study, store: Store, registry: Registry, **how: Any) -> Performance:
    registry = replace(registry, studies={study.label: study})
    laid_out = outline(study, "smoke", registry)
    return perform_study(laid_out, store, registry, lambda plan: Settings(**how), Reporter())


def test_what_is_there_is_kept_and_said_once(registry: Registry) -> None:
    with Store.memory() as store:
        assert (played(Toy(), store, registry).done, played(Toy(), store, registry).kept) == (2, 2)
        assert len(store.rows("SELECT id FROM studies")) == 1
        (one,) = standing(store)
        assert [number.fate for number in one.numbers] == ["beside", "outside", "absent"]
        assert [(claim.verdict, claim.strongest) for claim in one.claims] == [
            ("holds", None),
            ("undecided", "undecided"),
            ("undecided", None),
        ]
        assert one.claims[0].strongest_words == "one attack is enough"


def test_a_rate_of_a_finding_is_that_of_the_view(registry: Registry) -> None:
    with Store.memory() as store:
        played(Toy(), store, registry)
        key = next(one.analysis for one in performed(store)[0].analyses if one.label == RATES.label)
        ours = findings(store, key or "")
        view = {row["attack"]: row for row in store.rates("fooling")}
        for attack in ("fgsm", "pgd(steps=3)"):
            row = ours[rate(attack)]
            wanted = [100 * view[attack][f"rate_first_right{end}"] for end in ("", "_low", "_high")]
            assert [row.value, row.low, row.high] == pytest.approx(wanted)
            assert ours[rate(attack, "size")].value == pytest.approx(view[attack]["mean_size"])


def stops_after(count: int) -> Callable[[], bool]:
    asked = [0]

    def interrupted() -> bool:
        asked[0] += 1
        return asked[0] > count

    return interrupted


@pytest.mark.parametrize("seed", range(3))
def test_cut_off_in_cells_and_analyses_it_ends_where_it_would_have(registry: Registry, seed: int) -> None:
    with Store.memory() as whole, Store.memory() as cut:
        assert played(Slowly(), whole, registry).failed == [MISSPELT]
        stops = 0
        for count in range(1 + seed, 60, 3):
            if not played(Slowly(), cut, registry, interrupted=stops_after(count)).interrupted:
                break
            stops += 1
        assert stops >= 5
        assert told(cut) == told(whole)


@dataclass(frozen=True)
class Failing(Toy):
    def analyses(self, level: Level) -> tuple[Analysis, ...]:
        return (Broken(), RATES, Logits())


@dataclass(frozen=True)
class Broken(Analysis):
    name = "broken"

    @property
    def inputs(self) -> Inputs:
        return Inputs(suites=(SUITE,))

    def find(self, material: Material) -> Findings:
        return Findings((Finding("x", 1.0), Finding("x", 2.0)))


def test_an_analysis_that_fails_ends_alone(registry: Registry) -> None:
    with Store.memory() as store:
        ended = played(Failing(), store, registry)
        assert ended.failed == [("broken", "two of its numbers are called 'x'"), MISSPELT]
        assert ended.done == 2
        first = performed(store)[0].analyses[0]
        assert (first.label, first.analysis, first.reason) == ("broken", None, "two of its numbers are called 'x'")


@dataclass(frozen=True)
class Lacking(Toy):
    """The toy whose suite names a data set that is not here."""

    def suites(self, level: Level) -> tuple[Mapping[str, Any], ...]:
        return ({**super().suites(level)[0], "data": "toy-nowhere"},)


def test_without_its_data_a_study_ends_in_words(registry: Registry) -> None:
    with Store.memory() as store:
        ended = played(Lacking(), store, registry)
        assert [label for label, _ in ended.failed] == [f"suite {SUITE}"]
        (one,) = standing(store)
        assert {number.fate for number in one.numbers} == {"absent"}
        assert {claim.verdict for claim in one.claims} == {"undecided"}


def test_what_can_no_longer_be_performed_says_nothing_new(registry: Registry) -> None:
    with Store.memory() as store:
        played(Toy(), store, registry)
        before = told(store)
        assert played(Lacking(), store, registry).failed
        assert told(store) == before


@dataclass(frozen=True)
class Peeping(Analysis):
    """Reads what it does not name."""

    name = "peeping"
    what: str = "suite"

    @property
    def inputs(self) -> Inputs:
        return Inputs()

    def find(self, material: Material) -> Findings:
        if self.what == "suite":
            material.cells(SUITE)
        elif self.what == "target":
            material.target("mnist-5k", "small-cnn")
        else:
            material.data("mnist-5k")
        return Findings()


@pytest.mark.parametrize("what", ["suite", "target", "data"])
def test_an_analysis_reads_what_it_names_and_nothing_else(registry: Registry, what: str) -> None:
    @dataclass(frozen=True)
    class Curious(Toy):
        def analyses(self, level: Level) -> tuple[Analysis, ...]:
            return (RATES, Logits(), Peeping(what=what))

    with Store.memory() as store:
        (label, reason), misspelt = played(Curious(), store, registry).failed
        assert misspelt == MISSPELT
        assert label.startswith("peeping")
        assert "in its `inputs`" in reason


def test_of_two_cells_of_one_name_none_is_dropped_in_silence(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As of two files of weights that have one name in two folders."""
    numbers = iter(range(99))
    monkeypatch.setattr(Rates, "_counted", lambda *given: [Finding("success", float(next(numbers)))])
    with Store.memory() as store:
        (label, reason), *_ = played(Toy(), store, registry).failed
        assert (label, "are both called 'success'" in reason) == (RATES.label, True)


def test_pictures_of_images_that_may_not_be_shown_stay_out() -> None:
    from advbench.studies.analysing import as_rows

    pictures = (Picture("photo", [[[0.5]]]), Picture("noise", [[[0.5]]], of_data=False))
    assert [one.name for one in as_rows(Findings(pictures=pictures), of_data=False).pictures] == ["noise"]
    assert len(as_rows(Findings(pictures=pictures)).pictures) == 2


def test_numbers_that_are_none_are_unknown() -> None:
    from advbench.studies.analysing import as_rows

    (row,) = as_rows(Findings((Finding("x", float("nan"), float("inf")),))).findings
    assert (row.value, row.low) == (None, None)


def test_what_analyses_found_is_never_changed(registry: Registry) -> None:
    with Store.memory() as store:
        played(Toy(), store, registry)
        for table in ("analyses", "findings", "points", "pictures", "studies", "study_analyses", "published", "claims"):
            for change in (f"DELETE FROM {table}", f"UPDATE {table} SET rowid = rowid"):
                with pytest.raises(sqlite3.DatabaseError, match=r"never changed|no such column"):
                    store.connection.execute(change)


def test_another_seed_level_or_parameter_has_another_key(registry: Registry) -> None:
    with Store.memory() as store:
        played(Slowly(), store, registry)
        rows = store.rows("SELECT key, label FROM analyses")
        assert len({row["key"] for row in rows}) == len(rows) == 4
        assert analysis(store, rows[0]["key"]) is not None
