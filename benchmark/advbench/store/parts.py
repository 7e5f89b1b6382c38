"""Which parts of which runs a database holds, and which it lacks."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from advbench.errors import printable

if TYPE_CHECKING:
    from advbench.store.database import Store

MOST = 100_000
"""Parts that a run may be cut into: more than any cluster takes, and a slip beyond it."""
LISTED = 8
"""How many parts are named at most."""


@dataclass(frozen=True)
class HeldPart:
    """A part of which something is here."""

    whole: str
    """What the parts of one run have in common: a digest of its cells' keys."""
    suite: str
    part: int
    parts: int
    finished: int


def shards_of(part: int, parts: int, cell: str, count: int, *, together: bool) -> frozenset[int]:
    """Which of the `count` shards of a cell a part of so many performs: a rule that is never changed.

    Shards go around the parts, from one on that the cell's key names: of every cell each part has as many as any other,
    or one more. Those that belong `together` are performed by one. Nothing but SHA-256 of the key goes into it, so that
    every machine, Python and version of advbench says the same.
    """
    first = int.from_bytes(hashlib.sha256(f"part of {cell}".encode()).digest()[:8], "big")
    own = (part - 1 - first) % parts
    if together:
        return frozenset() if own else frozenset(range(count))
    return frozenset(range(own, count, parts))


def add(store: Store, run: str, part: int, parts: int, whole: str) -> None:
    """Write down which part a run is of the whole that has these cells."""
    store.insert("parts", [{"run": run, "part": part, "parts": parts, "whole": whole}])


def held(store: Store) -> list[HeldPart]:
    """Every part that was begun, and whether it came to its end; the whole of a run is part 1 of 1."""
    return store.read(
        HeldPart,
        """
        SELECT p.whole, coalesce(max(r.suite), '') AS suite, p.part, p.parts,
          max(coalesce(e.how = 'finished', 0)) AS finished
        FROM parts p JOIN runs r ON r.id = p.run LEFT JOIN run_ends e ON e.run = p.run
        WHERE p.part BETWEEN 1 AND p.parts
        GROUP BY p.whole, p.parts, p.part ORDER BY min(r.started), p.whole, p.parts, p.part
        """,
    )


def holds_parts(store: Store) -> bool:
    """Whether it has a cell of which only some shards may be here, and that is meant to be so."""
    return bool(store.rows("SELECT 1 FROM parts WHERE parts > 1 LIMIT 1"))


def lacking(store: Store) -> list[str]:
    """What is said of the runs of which some parts are here, and not all; in lines."""
    wholes: dict[str, list[HeldPart]] = defaultdict(list)
    for one in held(store):
        wholes[one.whole].append(one)
    lines = []
    for own in wholes.values():
        cuts = {count: [one for one in own if one.parts == count] for count in sorted({one.parts for one in own})}
        if not any(sum(one.finished for one in cut) == count for count, cut in cuts.items()):
            lines += [_lacking(count, cut) for count, cut in cuts.items()]
    return lines


def _lacking(count: int, begun: Sequence[HeldPart]) -> str:
    there = {one.part for one in begun if one.finished}
    unfinished = [one.part for one in begun if not one.finished]
    absent = [part for part in range(1, count + 1) if part not in there and part not in unfinished]
    said = [f"{_named(absent, count)} not here"] if absent else []
    said += [f"{_named(unfinished, count)} not finished"] if unfinished else []
    return f"{printable(begun[0].suite)}: {'; '.join(said)}."


def _named(parts: Sequence[int], count: int) -> str:
    more = f" and {len(parts) - LISTED} more" if len(parts) > LISTED else ""
    named = ", ".join(f"{part}/{count}" for part in parts[:LISTED])
    return f"part{'s' if len(parts) > 1 else ''} {named}{more} {'are' if len(parts) > 1 else 'is'}"


def named(held: Sequence[HeldPart]) -> str:
    """In brackets, the parts that a database holds; nothing where it holds none."""
    if not held:
        return ""
    more = f" and {len(held) - LISTED} more" if len(held) > LISTED else ""
    first = ", ".join(f"{one.part}/{one.parts}" for one in held[:LISTED])
    suites = ", ".join(dict.fromkeys(printable(one.suite) for one in held))
    return f" (part{'s' if len(held) > 1 else ''} {first}{more} of {suites})"


def incomplete(store: Store) -> int:
    """How many cells have some of their shards here, and not all."""
    (row,) = store.rows(
        """
        SELECT count(*) AS n FROM cells c WHERE EXISTS (SELECT 1 FROM shards s WHERE s.cell = c.id)
          AND NOT EXISTS (SELECT 1 FROM cell_events e WHERE e.cell = c.id AND e.status = 'done')
        """
    )
    return int(row["n"])


def said(store: Store) -> Iterable[str]:
    """In lines, what keeps the runs whose parts are here from being whole, or that nothing does."""
    missing = lacking(store)
    yield from missing
    if not missing and holds_parts(store) and (count := incomplete(store)):
        yield f"{count} cells lack shards, though no part is missing: `advbench run` with the suite crafts them."
