"""How single attacks come out, as SQL: fooling and transfer, sizes, clean answers, detection."""

from __future__ import annotations

from advbench.store import wilson
from advbench.store.outcome_views import ALARM, whole
from advbench.store.standing_views import stands

# Images that were wrong when clean need no perturbation, and their zeros would be averaged in; protocol 1 did so.
SIZED = "(c.predicted = c.label OR o.protocol < 2)"

# One pass over the outcomes, in the order of their primary key.
RATES = f"""
WITH counted AS MATERIALIZED (
  SELECT o.board_id, o.cell_id, o.target_id, count(*) AS n,
    count(*) FILTER (WHERE o.fooled) AS fooled,
    count(*) FILTER (WHERE c.predicted = c.label) AS first_right,
    count(*) FILTER (WHERE c.predicted = c.label AND o.fooled) AS fooled_first_right,
    count(*) FILTER (WHERE c.predicted = c.label AND o.predicted <> c.label AND o.inside) AS broken,
    count(*) FILTER (WHERE o.fooled AND NOT o.alarm) AS undetected,
    avg(o.size) FILTER (WHERE {SIZED} AND o.fooled) AS mean_size,
    count(o.violation) AS violations
  FROM judged_outcomes o
  LEFT JOIN clean c ON c.target = o.target_id AND c.example = o.example
  WHERE o.same_examples AND o.same_seed AND +o.cell_id IN (SELECT cell FROM cell_state WHERE current)
    AND {stands("o.board", "o.source")} AND {stands("o.board", "o.target")} AND {whole("o.cell_id", "o.target_id")}
  GROUP BY o.cell_id, o.board_id, o.target_id
)
SELECT b.key AS board, b.name AS board_name, k.cell, k.entrant, k.attack, k.goal, k.stop, k.minimizes,
  k.source, k.source_label, t.key AS target, t.label AS target_label, k.source_id = t.id AS own,
  n, fooled, first_right, fooled_first_right, first_right - broken AS still_right,
  CASE WHEN t.threshold IS NOT NULL THEN undetected END AS undetected, mean_size, violations
FROM counted
JOIN boards b ON b.rowid = counted.board_id
JOIN targets t ON t.id = counted.target_id
JOIN board_cells k ON k.cell_id = counted.cell_id AND k.board = b.key
"""

FOOLING_COLUMNS = f"""
  n, fooled, {wilson.columns("fooled", "n", "rate")},
  first_right, fooled_first_right, {wilson.columns("fooled_first_right", "first_right", "rate_first_right")},
  mean_size, violations
"""

FOOLING = f"""
SELECT board, board_name, cell, entrant, attack, goal, stop, source, source_label, {FOOLING_COLUMNS}
FROM rates WHERE own
"""

TRANSFER = f"""
SELECT board, board_name, cell, entrant, attack, goal, stop, source, source_label, target, target_label,
  {FOOLING_COLUMNS}
FROM rates WHERE NOT own
"""

# How large the perturbations are that fool a cell's own target, on images that were right when clean.
SIZES = f"""
WITH ordered AS (
  SELECT o.board_id, o.cell_id, o.target_id, o.size,
    row_number() OVER (PARTITION BY o.board_id, o.cell_id, o.target_id ORDER BY o.size) AS place,
    count(*) OVER (PARTITION BY o.board_id, o.cell_id, o.target_id) AS n
  FROM judged_outcomes o
  CROSS JOIN clean c ON c.target = o.target_id AND c.example = o.example
  WHERE o.target = o.source AND o.same_examples AND o.same_seed
    AND +o.cell_id IN (SELECT cell FROM cell_state WHERE current)
    AND {stands("o.board", "o.source")} AND {SIZED} AND o.fooled
), counted AS (
  SELECT board_id, cell_id, target_id, count(*) AS n, avg(size) AS mean_size,
    avg(size) FILTER (WHERE place IN ((n + 1) / 2, (n + 2) / 2)) AS median_size
  FROM ordered GROUP BY board_id, cell_id, target_id
)
SELECT b.key AS board, b.name AS board_name, k.cell, k.entrant, k.attack, k.goal, k.source, k.source_label,
  s.n, s.mean_size, s.median_size
FROM counted s
JOIN boards b ON b.rowid = s.board_id
JOIN board_cells k ON k.cell_id = s.cell_id AND k.board = b.key
WHERE k.judged
"""

ATTACK_ACCURACY = f"""
SELECT board, board_name, cell, entrant, attack, goal, stop, target, target_label,
  n, still_right, {wilson.columns("still_right", "n", "accuracy")}
FROM rates WHERE own
"""

# Answers on clean images, superseded targets included.
ANSWERED = f"""
WITH placed AS MATERIALIZED (SELECT * FROM board_targets),
counted AS MATERIALIZED (
  SELECT b.rowid AS board_id, t.id AS target_id, count(*) AS n, count(*) FILTER (WHERE c.predicted = c.label) AS right,
    count(*) FILTER (WHERE {ALARM.format(row="c")}) AS alarms
  FROM boards b NOT INDEXED
  CROSS JOIN targets t NOT INDEXED
  CROSS JOIN example_sets e ON e.fingerprint = b.examples
  CROSS JOIN clean c ON c.target = t.id AND c.example = e.example
  WHERE (b.key, t.key) IN (SELECT board, target FROM placed)
  GROUP BY b.rowid, t.id
), named AS (
  SELECT b.key AS board, b.name AS board_name, t.key AS target, t.label AS target_label, b.count, n, right,
    CASE WHEN t.threshold IS NOT NULL THEN alarms END AS alarms, t.false_positive_rate AS asked,
    p.current, p.standing, p.event
  FROM counted
  JOIN boards b ON b.rowid = counted.board_id
  JOIN targets t ON t.id = counted.target_id
  JOIN placed p ON p.board = b.key AND p.target = t.key
)
SELECT *, {wilson.columns("right", "n", "accuracy")},
  {wilson.columns("alarms", "n", "false_positives")}
FROM named
"""

CLEAN_ACCURACY = """
SELECT board, board_name, target, target_label, count, n, right, alarms, asked, accuracy, accuracy_low, accuracy_high,
  false_positives, false_positives_low, false_positives_high
FROM answered WHERE current
"""

UNDETECTED = f"""
SELECT r.board, r.board_name, r.cell, r.entrant, r.attack, r.goal, r.stop, r.source, r.source_label, r.target,
  r.target_label, r.own, r.n, r.undetected, {wilson.columns("r.undetected", "r.n", "rate")},
  c.alarms, c.n AS clean_n, c.false_positives, c.false_positives_low, c.false_positives_high, c.asked
FROM rates r JOIN clean_accuracy c ON c.board = r.board AND c.target = r.target
WHERE r.undetected IS NOT NULL
"""
