"""The facts of a database in an order that does not depend on who wrote them, so that two databases can be compared."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from advbench.store.database import Store

# No run ids, clocks or batch sizes, and content keys in place of the integers that stand for them.
QUESTIONS = {
    "datasets": "SELECT * FROM datasets",
    "example_sets": "SELECT * FROM example_sets",
    "example_draws": "SELECT * FROM example_draws",
    "boards": "SELECT * FROM boards",
    "targets": """
        SELECT key, label, model, defenses, dataset, data_fingerprint, params, origins, weights_sha256, recipe,
          access, threshold, false_positive_rate, randomised, draws
        FROM targets
    """,
    "clean": """
        SELECT t.key, c.example, c.label, c.predicted, c.confidence, c.suspicion
        FROM clean c JOIN targets t ON t.id = c.target
    """,
    "certificates": """
        SELECT t.key, p.example, p.family, p.predicted, p.radius FROM certificates p JOIN targets t ON t.id = p.target
    """,
    "cells": """
        SELECT key, dataset, data_fingerprint, examples, count, threat, family, params, eps, minimizes, attack,
          attack_params, origin, goal, stop, source, seed, protocol, budget, fit, needs,
          beyond_gradients, content, fit_fingerprint, bank_fingerprint, ball,
          precision
        FROM cells
    """,
    "states": """
        SELECT c.key, e.status, e.reason FROM cells c JOIN cell_events e ON e.cell = c.id
        WHERE e.id = (SELECT max(id) FROM cell_events WHERE cell = c.id)
    """,
    "shards": """
        SELECT c.key, s.shard, s.first, s.count, s.forwards, s.backwards, s.artifact
        FROM shards s JOIN cells c ON c.id = s.cell
    """,
    "judgements": """
        SELECT c.key, t.key, j.shard
        FROM judgements j JOIN cells c ON c.id = j.cell JOIN targets t ON t.id = j.target
    """,
    "outcomes": """
        SELECT c.key, t.key, o.example, o.goal_label, o.reached, o.predicted, o.confidence, o.suspicion, o.size,
          o.violation, o.excess, o.tolerance
        FROM outcomes o JOIN cells c ON c.id = o.cell JOIN targets t ON t.id = o.target
    """,
    "exhibits": """
        SELECT c.key, e.example, hex(e.original), hex(e.perturbed), hex(e.redrawn), hex(e.moved), e.words
        FROM exhibits e JOIN cells c ON c.id = e.cell
    """,
    "artifacts": "SELECT * FROM artifacts",
    "plugins": "SELECT DISTINCT kind, label, distribution, version, digest, error FROM plugins",
    "skips": "SELECT DISTINCT dataset, model, defenses, attack, threat, goal, reason FROM skips",
    "notes": "SELECT t.key, n.kind, n.reason FROM notes n JOIN targets t ON t.id = n.target",
}


def content(store: Store) -> dict[str, list[tuple[Any, ...]]]:
    """Every fact by table, sorted, without timings, run ids and timestamps: equal for databases that know the same."""
    with store.snapshot():
        facts = {table: [tuple(row) for row in store.connection.execute(sql)] for table, sql in QUESTIONS.items()}
    return {table: sorted(rows, key=json.dumps) for table, rows in facts.items()}
