"""A paper's numbers as a study's YAML has them, and how far they were rounded."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from toy_study import Toy

from advbench import PluginError
from advbench.plugins.discovery import discover
from advbench.rates.studies import Compared
from advbench.store.study_rows import FindingRow, PublishedRow
from advbench.studies.published import publication
from advbench.study import Study


def test_numbers_of_tables_and_figures() -> None:
    published = publication(Toy())
    assert [(one.place, one.position, one.value, one.unit) for one in published.numbers] == [
        ("Table 1", 0, 50.0, "percent"),
        ("Table 1", 1, 12.0, "percent"),
        ("Figure 1", 0, "about 3", ""),
    ]
    assert dict(published.numbers[0].columns) == {"attack": "PGD", "network": "small", "metric": "fooling"}
    assert published.places == ("Table 1", "Figure 1")
    assert [claim.id for claim in published.claims] == ["toy-1", "toy-2", "toy-3"]


@pytest.mark.parametrize(
    "text",
    [
        "tables: [{id: T}",
        "tables: []",
        "paper: {}\ntables: [{rows: [{value: 1}]}]",
        "- 1",
        "paper: {}\ntables: [{id: T, rows: [{value: .nan}]}]",
        "paper: {}\ntables: [{id: T, rows: [{value: 1, of: !!binary aGk=}]}]",
        "paper: {}\ntables: [{id: T, rows: [{value: 1, of: !!set {a}}]}]",
    ],
)
def test_what_can_not_be_read_is_said_in_one_line(text: str) -> None:
    @dataclass(frozen=True)
    class Garbled(Toy):
        @property
        def published(self) -> str:
            return text

    with pytest.raises(PluginError, match="toy: its published numbers can't be read"):
        publication(Garbled())


def test_dates_are_words() -> None:
    @dataclass(frozen=True)
    class Dated(Toy):
        @property
        def published(self) -> str:
            return "paper: {title: T, at: 2019-05-01}\ntables: [{id: T, rows: [{of: 2019-05-01, value: 1}]}]"

    published = publication(Dated())
    assert (published.paper["at"], published.numbers[0].columns) == ("2019-05-01", {"of": "2019-05-01"})


@pytest.mark.parametrize(
    ("printed", "low", "high", "fate"),
    [
        ("50", 49.0, 51.0, "within"),
        ("50", 50.4, 51.0, "within"),  # it may have been 50.4
        ("50", 50.6, 51.0, "outside"),
        ("50.0", 50.4, 51.0, "outside"),  # a zero is a figure like any other
        ("50.0", 50.04, 51.0, "within"),
        ("1.25", 1.254, 1.3, "within"),
        ("1.25", 1.256, 1.3, "outside"),
        ("1.2e-3", 0.00124, 1.3, "within"),
        ("1.2e-3", 0.00126, 1.3, "outside"),
        ("1.25", None, None, "beside"),
    ],
)
def test_a_published_number_is_as_good_as_its_last_figure(
    printed: str, low: float | None, high: float | None, fate: str
) -> None:
    @dataclass(frozen=True)
    class Printing(Toy):
        @property
        def published(self) -> str:
            return f"paper: {{title: T}}\ntables: [{{id: T, rows: [{{value: {printed}}}]}}]"

    (number,) = publication(Printing()).numbers
    assert isinstance(number.value, float)
    row = PublishedRow("T", 0, [], number.value, None, number.decimals, "", "a", "f", None)
    assert Compared(row, FindingRow("f", 50.7, low, high, 9, "")).fate == fate


def test_studies_that_come_with_advbench_are_complete() -> None:
    """Every number bound or absent with its reason, every claim judged, every figure shown: the kit's checks."""
    from advbench.testing import checks, run_checks

    studies: list[Study] = list(discover().studies.values())
    assert [one for one in run_checks(checks(Toy(), *studies)) if one.ok is not True] == []
