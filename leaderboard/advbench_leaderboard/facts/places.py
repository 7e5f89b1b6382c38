"""The published numbers of a table or figure, laid out: what rows say, what all have in common, why some are absent."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from advbench.rates.studies import Compared

FILTERED = 20
"""From so many rows on, readers may choose among them."""
_NAME = re.compile(r"[a-z][a-z0-9_]{0,30}")
_NOTE = "note"
_TAKEN = frozenset({"q", "sort", "hide"})
"""What the page's address calls a search, an order and hidden columns."""


@dataclass(frozen=True)
class Beside:
    """A published number with ours."""

    compared: Compared
    reason: int | None
    """Which of the reasons below the table says why there is none of ours."""
    note: int | None
    """Which of the notes there is about it."""


@dataclass(frozen=True)
class Line:
    """A row of the table; of one that is pivoted, a list of numbers for every value across."""

    words: tuple[str, ...]
    numbers: tuple[tuple[Beside, ...], ...]


@dataclass(frozen=True)
class Layout:
    place: str
    columns: tuple[str, ...]
    """Those in which rows differ; there is always one."""
    across: tuple[str, ...]
    """What stands above the columns of numbers; empty where every row has one number."""
    common: tuple[tuple[str, str], ...]
    """Columns that say the same in every row, with what they say."""
    unit: str
    """Of all numbers; empty where they have several."""
    lines: tuple[Line, ...]
    reasons: tuple[str, ...]
    """Why numbers are absent, each once."""
    notes: tuple[str, ...]
    """What the paper's readers noted about single numbers, each once."""
    filters: tuple[int, ...]
    """Places of columns by whose values readers may choose rows."""

    @property
    def heads(self) -> tuple[str, ...]:
        """The columns in words."""
        return tuple(words[:1].upper() + words[1:] for words in map(plain, self.columns))

    @property
    def ours(self) -> bool:
        """Whether any of them has one of ours beside it."""
        return any(one.reason is None for line in self.lines for some in line.numbers for one in some)

    @cached_property
    def counts(self) -> tuple[int | None, ...]:
        """Behind how many examples ours stand, the most frequent first."""
        every = (one.compared.ours for line in self.lines for some in line.numbers for one in some)
        counted = Counter(ours.n for ours in every if ours is not None and ours.value is not None)
        return tuple(n for n, _ in counted.most_common())


def layout(place: str, numbers: Sequence[Compared], across: str = "") -> Layout:
    """As one row a number, or with the values of the column `across` side by side where there is such a column."""
    said = [{str(name): plain(value) for name, value in one.published.columns} for one in numbers]
    names = [name for name in dict.fromkeys(name for row in said for name in row) if name != _NOTE]
    values = {name: dict.fromkeys(row.get(name, "") for row in said) for name in names}
    pivoted = across in names and len(values[across]) > 1
    common = [name for name in names if len(said) > 1 and len(values[name]) == 1 and name != across]
    columns = [name for name in names if name not in common and not (pivoted and name == across)]
    reasons: dict[str, int] = {}
    notes: dict[str, int] = {}
    lines: dict[tuple[str, ...], list[list[Beside]]] = {}
    heads = list(values[across]) if pivoted else [""]
    for place_in, (row, one) in enumerate(zip(said, numbers, strict=True)):
        words = tuple(row.get(name, "") for name in columns)
        if not columns:
            words = ("all",) if pivoted else (str(place_in + 1),)
        key = words if pivoted else (*words, str(place_in))
        cells = lines.setdefault(key, [[] for _ in heads])
        reason = reasons.setdefault(_why(one), len(reasons)) if one.fate == "absent" else None
        note = notes.setdefault(row[_NOTE], len(notes)) if row.get(_NOTE) else None
        cells[heads.index(row.get(across, "")) if pivoted else 0].append(Beside(one, reason, note))
    units = dict.fromkeys(one.published.unit for one in numbers)
    shown = tuple(columns) or (across if pivoted else "number",)
    rows = [Line(key if pivoted else key[:-1], tuple(map(tuple, cells))) for key, cells in lines.items()]
    return Layout(
        place=place,
        columns=shown,
        across=tuple(heads) if pivoted else (),
        common=tuple((name, next(iter(values[name]))) for name in common),
        unit=next(iter(units)) if len(units) == 1 else "",
        lines=tuple(rows),
        reasons=tuple(reasons),
        notes=tuple(notes),
        filters=tuple(
            number
            for number, name in enumerate(columns)
            if len(rows) >= FILTERED
            and _NAME.fullmatch(name)
            and name not in _TAKEN
            and 1 < len(values[name]) <= len(rows) // 3
        ),
    )


def plain(value: Any) -> str:
    """What a row says in a column, in words: names that are written as code lose their underscores."""
    if isinstance(value, list):
        return ", ".join(map(plain, value))
    text = f"{value:.10g}" if isinstance(value, float) else str(value)
    return text.replace("_", " ") if re.fullmatch(r"[A-Za-z0-9_+ ]+", text) else text


def _why(one: Compared) -> str:
    if one.published.absent:
        return one.published.absent
    return "there was nothing to count" if one.ours is not None else "the finding that it is bound to is not stored"
