"""Where two databases say different things of the same fact, so that one can't join the other."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from advbench.errors import AdvbenchError
from advbench.store.joined_tables import Table

if TYPE_CHECKING:
    from advbench.store.database import Row, Store

NEAR = 5e-3
"""How far real numbers of the same fact lie apart when two machines wrote them."""


class ConflictError(AdvbenchError):
    """Two databases say different things of what has the same key."""


def refuse_other_draw(into: Store, origin: Store, examples: str) -> None:
    """A set of examples that is here was drawn there as it was here, or it is the first of its data in both.

    No key holds that to be so: the same images could be called a draw by any seed.
    """
    here, there = (store.draws().get(examples) for store in (into, origin))
    if here != there and into.examples(examples):
        ours, theirs = ("not drawn" if seed is None else f"drawn by seed {seed}" for seed in (here, there))
        raise ConflictError(f"example_draws {examples[:12]}: its examples are {ours} here, {theirs} there")


def lacking(table: Table, theirs: Iterable[Row], ours: Mapping[tuple[Any, ...], Row]) -> Iterable[Row]:
    """Their rows that are not here; one that says something else than ours is a conflict."""
    for row in theirs:
        known = ours.get(tuple(row[name] for name in table.identity))
        if known is None:
            yield row
            continue
        for name, value in row.items():
            if name not in table.apart and not _same(value, known[name]):
                place = " ".join(str(row[name])[:12] for name in table.identity)
                raise ConflictError(
                    f"{table.name} {place}: {name} is {_brief(known[name])} here, {_brief(value)} there"
                )


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, float) and isinstance(other, float) and math.isfinite(one) and math.isfinite(other):
        return abs(one - other) <= NEAR * max(1.0, abs(one))
    return bool(one == other)


def _brief(value: Any) -> str:
    text = f"{len(value)} bytes" if isinstance(value, bytes) else str(value)
    return text if len(text) <= 40 else f"{text[:40]}…"
