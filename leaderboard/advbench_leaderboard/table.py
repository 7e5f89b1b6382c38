"""A table as CSV and as JSON, with a schema that is kept: columns are added at the end, never renamed."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from advbench_leaderboard.site import Site
from advbench_leaderboard.text import shown

SCHEMA = 1
"""Raised when a column is renamed, removed or means something else."""

_FORMULA = re.compile(r"(^|;)(?=[\s\"]*[=+\-@＝＋－＠])")
"""Half of Europe's spreadsheets begin a new field at every semicolon, quoted or not."""

Value = str | int | float | bool | None


@dataclass(frozen=True)
class Table:
    name: str
    title: str
    columns: dict[str, str]
    """Each with its meaning."""
    read: Callable[[Site], Iterator[tuple[Value, ...]]]

    def rows(self, site: Site) -> list[tuple[Value, ...]]:
        return [tuple(_plain(value) for value in row) for row in self.read(site)]


def csv_of(table: Table, rows: list[tuple[Value, ...]]) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(table.columns)
    writer.writerows([_harmless(value) for value in row] for row in rows)
    return text.getvalue().encode()


def json_of(table: Table, rows: list[tuple[Value, ...]]) -> bytes:
    head = json.dumps({"schema": SCHEMA, "table": table.name, "columns": table.columns}, ensure_ascii=False)
    body = ",\n".join(json.dumps(dict(zip(table.columns, row, strict=True)), ensure_ascii=False) for row in rows)
    return f'{head[:-1]}, "rows": [\n{body}\n]}}\n'.encode()


def _plain(value: Value) -> Value:
    """Text without terminal escapes and control characters; what is no finite number is empty, for JSON knows none."""
    if isinstance(value, str):
        return shown(value)
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _harmless(value: Value) -> Value:
    """A spreadsheet takes text that begins so for a formula; an apostrophe makes it text again."""
    return _FORMULA.sub(r"\1'", value) if isinstance(value, str) else value
