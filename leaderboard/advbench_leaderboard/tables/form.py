"""One table, as CSV and as JSON, by a schema that is kept: columns are added at the end, never renamed."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache

from advbench_leaderboard.site import Site
from advbench_leaderboard.text import shown

SCHEMA = 1
"""Raised when a column is renamed, removed or means something else."""

_FORMULA = re.compile(r"(^|;)(?=[\s\"]*[=+\-@＝＋－＠])")
"""Half of Europe's spreadsheets begin a new field at every semicolon, quoted or not."""

_encoded = json.JSONEncoder(ensure_ascii=False).encode

Value = str | int | float | bool | None


@dataclass(frozen=True)
class Table:
    name: str
    title: str
    columns: dict[str, str]
    """Each with its meaning."""
    read: Callable[[Site], Iterator[tuple[Value, ...]]]

    def rows(self, site: Site) -> list[tuple[Value, ...]]:
        return [tuple([_writable(value) for value in row]) for row in self.read(site)]


def csv_of(table: Table, rows: list[tuple[Value, ...]]) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(table.columns)
    writer.writerows([_harmless(value) for value in row] for row in rows)
    return text.getvalue().encode()


def json_of(table: Table, rows: list[tuple[Value, ...]]) -> bytes:
    head = _encoded({"schema": SCHEMA, "table": table.name, "columns": table.columns})
    body = ",\n".join(_encoded(dict(zip(table.columns, row, strict=True))) for row in rows)
    return f'{head[:-1]}, "rows": [\n{body}\n]}}\n'.encode()


def _writable(value: Value) -> Value:
    """Text without terminal escapes and control characters; what is no finite number is empty, for JSON knows none."""
    if isinstance(value, str):
        return shown(value)
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _harmless(value: Value) -> Value:
    """A spreadsheet takes text that begins so for a formula; an apostrophe makes it text again."""
    return _no_formula(value) if isinstance(value, str) else value


@lru_cache(maxsize=16_384)  # the same keys and labels stand in many rows
def _no_formula(text: str) -> str:
    return _FORMULA.sub(r"\1'", text)
