"""A cell's first examples as pictures, with what the referee said of each."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from advbench.store import Store


@dataclass(frozen=True, slots=True)
class Exhibit:
    """Pictures are zlib of bytes, channels first; `moved` is zlib of float16, downwards and to the right."""

    cell: int
    """Its number."""
    example: int
    label: int | None
    clean: int | None
    """The answer to the original."""
    clean_confidence: float | None
    clean_suspicion: float | None
    goal_label: int | None
    reached: bool | None
    """None where this example has no verdict yet."""
    predicted: int | None
    confidence: float | None
    suspicion: float | None
    size: float | None
    violation: str | None
    excess: float | None
    tolerance: float | None
    original: bytes
    perturbed: bytes
    redrawn: bytes | None
    moved: bytes | None
    words: str | None


def exhibits(store: Store, cells: Sequence[int]) -> dict[int, list[Exhibit]]:
    """The first examples of these cells, by the cell's number; each as judged on its own source.

    None of images that are not to be published, should somebody have stored any.
    """
    by_cell: dict[int, list[Exhibit]] = defaultdict(list)
    for one in store.read(
        Exhibit,
        """
        SELECT x.cell, x.example, c.label, c.predicted AS clean, c.confidence AS clean_confidence,
          c.suspicion AS clean_suspicion, o.goal_label, o.reached, o.predicted, o.confidence, o.suspicion, o.size,
          o.violation, o.excess, o.tolerance, x.original, x.perturbed, x.redrawn, x.moved, x.words
        FROM exhibits x
        JOIN cells k ON k.id = x.cell
        JOIN targets t ON t.key = k.source
        LEFT JOIN datasets d ON d.fingerprint = k.data_fingerprint
        LEFT JOIN outcomes o ON o.cell = x.cell AND o.target = t.id AND o.example = x.example
        LEFT JOIN clean c ON c.target = t.id AND c.example = x.example
        WHERE x.cell IN (SELECT value FROM json_each(?)) AND coalesce(d.publishable, 1) ORDER BY x.cell, x.example
        """,
        json.dumps(list(cells)),
    ):
        by_cell[one.cell].append(one)
    return by_cell
