"""The rows of an answer as records: a frozen dataclass says which columns a question has, and of what type they are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any, TypeVar, cast

from advbench.store.records import JSON_COLUMNS, parsed

if TYPE_CHECKING:
    import sqlite3

T = TypeVar("T")


def reader(kind: type[T], columns: Sequence[str]) -> Callable[[sqlite3.Row], T]:
    """Makes a record of each row: a field has the name of its column, JSON is parsed, and flags become `bool`.

    Fields are looked up here, once for all rows.
    """
    wanted = [(field.name, str(field.type)) for field in fields(cast(Any, kind)) if field.init]
    _refuse_others(kind, [name for name, _ in wanted], columns)
    make = cast(Callable[..., T], kind)
    places = [columns.index(name) for name, _ in wanted]
    changed = [(place, change) for place, field in enumerate(wanted) if (change := _change(*field))]

    def read(row: sqlite3.Row) -> T:
        values = [row[place] for place in places]
        for place, change in changed:
            values[place] = change(values[place])
        return make(*values)

    return read


def _refuse_others(kind: type[Any], wanted: Sequence[str], columns: Sequence[str]) -> None:
    lacking = [name for name in wanted if name not in columns]
    idle = [name for name in columns if name not in wanted]
    twice = [name for name, count in Counter(columns).items() if count > 1]
    differences = {"no column for the field": lacking, "no field for the column": idle, "two columns called": twice}
    if difference := "; ".join(f"{words} {', '.join(names)}" for words, names in differences.items() if names):
        raise TypeError(f"{kind.__name__} and its question differ: {difference}")


def _change(name: str, annotation: str) -> Callable[[Any], Any] | None:
    """What SQLite can't keep as it is; annotations are text, since their names may be known to a type checker alone."""
    if name in JSON_COLUMNS:
        return lambda value: parsed(name, value)
    if annotation in ("bool", "bool | None", "<class 'bool'>"):
        return lambda value: None if value is None else bool(value)
    return None
