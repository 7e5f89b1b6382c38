"""What one outcome amounts to on one board, as SQL: whether it lies inside the board's ball, and whether it fooled."""

from __future__ import annotations

from advbench.store.standing_views import SAME_BALL, SAME_EXAMPLES, SAME_SEED

TOLERANCE = 1e-6
"""Relative to the radius: what float32 may have moved a size that was sought to be just within it."""


def largest(radius: float) -> float:
    """The largest size that lies inside a ball of this radius, as the view has it."""
    return radius * (1 + TOLERANCE)


# CASE stops at the first answer; SQLite works out every part of an AND that comes from a view, for each row.
INSIDE = f"""
CASE WHEN o.violation IS NOT NULL THEN 0 WHEN k.minimizes THEN o.size <= b.eps * (1 + {TOLERANCE!r}) ELSE 1 END
""".strip()
# A suspicion that is no number raises no alarm.
ALARM = "coalesce({row}.suspicion > t.threshold, 0)"

# Every outcome on every board of its cell's ball; of cells on other examples or with other seeds, too, which the board
# does not count. Only what an attack finds that looks for the smallest perturbation may be larger than the board allows
# and break no rule. Loops in the order of the outcomes' primary key, which CROSS JOIN and NOT INDEXED hold SQLite to:
# views that group by cell, board and target have nothing to sort (measured: 0.7 s a million instead of 2.8).
JUDGED_OUTCOMES = f"""
SELECT b.key AS board, k.key AS cell, t.key AS target, k.source, o.example, o.goal_label, o.reached, o.predicted,
  o.confidence, o.suspicion, o.size, o.violation,
  {INSIDE} AS inside,
  CASE WHEN o.reached THEN {INSIDE} ELSE 0 END AS fooled,
  {ALARM.format(row="o")} AS alarm, t.threshold, b.protocol, {SAME_EXAMPLES} AS same_examples,
  {SAME_SEED} AS same_seed, b.rowid AS board_id, k.id AS cell_id, t.id AS target_id
FROM cells k
CROSS JOIN boards b NOT INDEXED
CROSS JOIN targets t NOT INDEXED
CROSS JOIN outcomes o ON o.cell = k.id AND o.target = t.id
WHERE {SAME_BALL}
"""


def whole(cell: str, target: str) -> str:
    """SQL for whether all shards of a cell are judged on a target, both by number: until then it does not count."""
    return (
        f"(SELECT count(*) FROM judgements j WHERE j.cell = {cell} AND j.target = {target}) "
        f"= (SELECT count(*) FROM shards s WHERE s.cell = {cell})"
    )
