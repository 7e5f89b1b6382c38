"""Rows as SQLite takes them: values in the order of a table's columns."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields
from operator import attrgetter
from types import MappingProxyType
from typing import Any

from advbench.store.records import JSON_COLUMNS
from advbench.store.rows import by_column

NOWHERE: Mapping[str, Any] = MappingProxyType({})


def lined_up(
    table: str, columns: tuple[str, ...], rows: Iterable[Any], place: Mapping[str, Any] = NOWHERE
) -> Iterator[tuple[Any, ...]]:
    """Records or mappings, each with what they share, as tuples."""
    first, kind, take = tuple(place.values()), None, None
    for row in rows:
        if type(row) is not kind:
            kind = type(row)
            take = _taker(columns, kind, tuple(place))
        if take is None:
            yield _values(table, columns, {**by_column(row), **place})
        else:
            yield first + take(row)


def _taker(columns: tuple[str, ...], kind: type[Any], place: tuple[str, ...]) -> attrgetter[tuple[Any, ...]] | None:
    """All fields of a record at once, where they are the columns behind those of the place: a million rows are."""
    if issubclass(kind, Mapping) or not JSON_COLUMNS.isdisjoint(columns):
        return None
    names = tuple(field.name for field in fields(kind))
    return attrgetter(*names) if (*place, *names) == columns and len(names) > 1 else None


def _values(table: str, columns: tuple[str, ...], row: Mapping[str, Any]) -> tuple[Any, ...]:
    values = tuple(map(row.get, columns))
    if len(row) > len(columns) or not row.keys() <= set(columns):
        raise TypeError(f"{table} has no column {', '.join(sorted(row.keys() - set(columns)))}")
    if JSON_COLUMNS.isdisjoint(columns):
        return values
    return tuple(_to_column(value) if c in JSON_COLUMNS else value for c, value in zip(columns, values, strict=True))


def _to_column(value: Any) -> str | None:
    return None if value is None else json.dumps(value, sort_keys=True, ensure_ascii=False, allow_nan=False)
