"""Pairs that did not run, and why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from advbench.store import Store


@dataclass(frozen=True)
class Skip:
    """A pair that a plan left out; `ball` and `attack` are empty where it concerns all of them."""

    dataset: str
    target: str
    attack: str
    ball: str
    reason: str
    run: str

    def concerns(self, dataset: str, name: str) -> bool:
        """A skip names its ball like the board (`linf/0.3`), or none where a target fits no attack at all."""
        return self.dataset == dataset and (not self.ball or name == f"{dataset}/{self.ball}")


def skips(store: Store) -> tuple[Skip, ...]:
    """What the last run to say so said about each pair."""
    rows = store.rows("""
        SELECT run, dataset, model, defenses, attack, threat, goal, reason FROM (
          SELECT s.*, r.started, row_number() OVER (
            PARTITION BY s.dataset, model, defenses, attack, threat, goal ORDER BY r.started DESC, r.id
          ) AS age
          FROM skips s JOIN runs r ON r.id = s.run
        ) s WHERE age = 1 AND NOT EXISTS (  -- what has been run since is not skipped any more
          SELECT 1 FROM targets t
          JOIN cells c ON c.source = t.key
          JOIN cell_events e ON e.cell = c.id
          JOIN runs r ON r.id = e.run
          WHERE t.dataset = s.dataset AND t.model = s.model AND t.defenses = s.defenses AND r.started > s.started
            AND (s.attack = '' OR (c.attack = s.attack AND c.goal = s.goal AND s.threat LIKE c.threat || '/%'))
        ) ORDER BY dataset, model, defenses, attack, goal, threat
    """)
    return tuple(
        Skip(row["dataset"], _target(row), _entrant(row), row["threat"], row["reason"], row["run"]) for row in rows
    )


def _target(row: Mapping[str, Any]) -> str:
    return str(row["model"] if row["defenses"] in ("", "none") else f"{row['model']}+{row['defenses']}")


def _entrant(row: Mapping[str, Any]) -> str:
    return str(row["attack"] if row["goal"] in ("", "untargeted") else f"{row['attack']} → {row['goal']}")
