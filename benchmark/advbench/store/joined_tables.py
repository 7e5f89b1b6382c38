"""The tables that a merge copies, how their rows are found under content keys, and which columns may differ."""

from __future__ import annotations

from dataclasses import dataclass

_TARGETS = "SELECT value FROM json_each(?)"


@dataclass(frozen=True)
class Table:
    """Facts with content keys in the place of numbers; `?` is a list of the values that `by` names."""

    name: str
    sql: str
    by: str
    identity: tuple[str, ...]
    apart: frozenset[str] = frozenset()
    """Columns that may differ: clocks, machines, paths, and versions that no key takes in."""


TABLES = (
    Table("runs", f"SELECT * FROM runs WHERE id IN ({_TARGETS})", "runs", ("id",)),
    Table("run_ends", f"SELECT * FROM run_ends WHERE run IN ({_TARGETS})", "runs", ("run",)),
    Table("plugins", f"SELECT * FROM plugins WHERE run IN ({_TARGETS})", "runs", ("run", "kind", "label")),
    Table(
        "skips",
        f"SELECT * FROM skips WHERE run IN ({_TARGETS})",
        "runs",
        ("run", "dataset", "model", "defenses", "attack", "threat", "goal"),
    ),
    Table(
        "datasets",
        f"SELECT * FROM datasets WHERE fingerprint IN ({_TARGETS})",
        "data",
        ("fingerprint",),
        frozenset({"source", "partial", "train_fingerprint", "calibrate_fingerprint"}),
    ),
    Table(
        "example_sets",
        f"SELECT * FROM example_sets WHERE fingerprint IN ({_TARGETS})",
        "examples",
        ("fingerprint", "position"),
    ),
    Table(
        "example_draws",
        f"SELECT * FROM example_draws WHERE fingerprint IN ({_TARGETS})",
        "examples",
        ("fingerprint",),
    ),
    Table(
        "targets", f"SELECT * FROM targets WHERE key IN ({_TARGETS})", "targets", ("key",), frozenset({"id", "origins"})
    ),
    Table(
        "clean",
        f"SELECT c.*, t.key AS target FROM clean c JOIN targets t ON t.id = c.target WHERE t.key IN ({_TARGETS})",
        "targets",
        ("target", "example"),
    ),
    Table(
        "certificates",
        "SELECT p.*, t.key AS target FROM certificates p JOIN targets t ON t.id = p.target "
        f"WHERE t.key IN ({_TARGETS})",
        "targets",
        ("target", "example", "family"),
    ),
    Table(
        "cells", f"SELECT * FROM cells WHERE key IN ({_TARGETS})", "cell", ("key",), frozenset({"id", "origin", "ball"})
    ),
    Table(
        "shards",
        f"SELECT s.*, c.key AS cell FROM shards s JOIN cells c ON c.id = s.cell WHERE c.key IN ({_TARGETS})",
        "cell",
        ("cell", "shard"),
        frozenset({"run", "batch", "seconds", "forwards", "backwards"}),
    ),
    Table(
        "judgements",
        "SELECT c.key AS cell, t.key AS target, j.shard FROM judgements j "
        f"JOIN cells c ON c.id = j.cell JOIN targets t ON t.id = j.target WHERE c.key IN ({_TARGETS})",
        "cell",
        ("cell", "target", "shard"),
    ),
    Table(
        "outcomes",
        "SELECT o.*, c.key AS cell, t.key AS target FROM outcomes o "
        f"JOIN cells c ON c.id = o.cell JOIN targets t ON t.id = o.target WHERE c.key IN ({_TARGETS})",
        "cell",
        ("cell", "target", "example"),
        frozenset({"tolerance", "excess"}),
    ),
    Table(
        "exhibits",
        f"SELECT e.*, c.key AS cell FROM exhibits e JOIN cells c ON c.id = e.cell WHERE c.key IN ({_TARGETS})",
        "cell",
        ("cell", "example"),
        frozenset({"original", "perturbed", "redrawn", "moved"}),
    ),
)
"""The tables that are joined, in an order in which each needs only those before it."""

PARTS = Table("parts", f"SELECT * FROM parts WHERE run IN ({_TARGETS})", "runs", ("run",))
"""Which part a run is: joins when all of its cells have."""
OF_RUN = (*(table for table in TABLES if table.by == "runs"), PARTS)
OF_CELL = frozenset({"cells", "shards", "judgements", "outcomes"})
CRAFTED = frozenset({"shards", "judgements", "outcomes", "exhibits"})
"""Tables whose rows of a failed cell stay behind, and of one in parts unless it is one's own: the owner's run would go
on with what nobody crafts again."""

CUT = frozenset({"shards", "judgements"})
"""Tables that say how a cell's examples were grouped when they were crafted."""
