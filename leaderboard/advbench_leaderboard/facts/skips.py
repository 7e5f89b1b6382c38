"""Pairs that did not run, and why."""

from __future__ import annotations

from dataclasses import dataclass

from advbench.store import Store


@dataclass(frozen=True)
class Skip:
    """A pair that a plan left out; `threat` and `attack` are empty where it concerns all of them."""

    dataset: str
    target: str
    attack: str
    threat: str
    """With its radius, like the end of a board's name: `linf/0.3`."""
    reason: str
    run: str

    def concerns(self, dataset: str, name: str) -> bool:
        """Whether it is one of that board; where a target fits no attack at all, no ball is named."""
        return self.dataset == dataset and (not self.threat or name == f"{dataset}/{self.threat}")


def skips(store: Store) -> tuple[Skip, ...]:
    """What the last run that names a pair says of it."""
    newest = store.read(
        Skip,
        """
        SELECT dataset, CASE WHEN defenses IN ('', 'none') THEN model ELSE model || '+' || defenses END AS target,
          CASE WHEN goal IN ('', 'untargeted') THEN attack ELSE attack || ' → ' || goal END AS attack,
          threat, reason, run
        FROM (
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
        ) ORDER BY dataset, model, defenses, s.attack, goal, threat
        """,
    )
    return tuple(newest)
