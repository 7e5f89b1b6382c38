"""What several cells amount to, as SQL: the worst case, sweeps, and what counts on no board or on another one."""

from __future__ import annotations

from advbench.store import wilson
from advbench.store.outcome_views import INSIDE, whole
from advbench.store.standing_views import SAME_BOARD, stands

# What each target must have been through on each board, and the cell that shows it; of earlier targets, too.
REQUIRED_CELLS = """
WITH placed AS MATERIALIZED (SELECT * FROM board_cells),
listed AS MATERIALIZED (SELECT board, target FROM answered)
SELECT c.board, c.target, r.value AS entrant, p.cell_id, CASE
    WHEN p.judged THEN NULL
    WHEN f.status = 'failed' THEN r.value || ' failed: ' || coalesce(f.reason, 'no reason given')
    WHEN f.status IS NOT NULL THEN r.value || ' is not finished'
    ELSE r.value || ' has not been run'
  END AS missing
FROM listed c
JOIN boards b ON b.key = c.board
CROSS JOIN json_each(b.required) r
LEFT JOIN placed p ON p.board = c.board AND p.source = c.target AND p.entrant = r.value AND p.current
LEFT JOIN placed f ON f.board = c.board AND f.source = c.target AND f.entrant = r.value AND f.latest
"""

# Right is who is right on the clean image and under every attack of the required set. A perturbation that broke the
# rules, or that is larger than the board allows, changes nothing; nor does a detector's alarm. Where nothing is
# required there is no worst case: the clean accuracy under another name would look like robustness.
# An example is looked up in one cell after the other until one broke it; through `judged_outcomes`, which would find
# cell, board and target anew each time, that takes half as long again, so that its rule is taken without it.
WORST_EXAMPLES = f"""
WITH required AS MATERIALIZED (SELECT * FROM required_cells),
needed AS MATERIALIZED (
  SELECT b.rowid AS board_id, t.id AS target_id, r.cell_id, k.minimizes
  FROM required r
  JOIN boards b ON b.key = r.board
  JOIN targets t ON t.key = r.target
  JOIN cells k ON k.id = r.cell_id
), ready AS MATERIALIZED (
  SELECT board, target FROM answered WHERE n = count
  INTERSECT SELECT board, target FROM required GROUP BY board, target HAVING count(missing) = 0
)
SELECT b.key AS board, t.key AS target, e.example, c.predicted = c.label AND NOT EXISTS (
    SELECT 1 FROM needed k
    CROSS JOIN outcomes o ON o.cell = k.cell_id AND o.target = t.id AND o.example = e.example
    WHERE k.board_id = b.rowid AND k.target_id = t.id AND o.predicted <> c.label AND {INSIDE}
  ) AS right
FROM boards b NOT INDEXED
CROSS JOIN targets t NOT INDEXED
CROSS JOIN example_sets e ON e.fingerprint = b.examples
CROSS JOIN clean c ON c.target = t.id AND c.example = e.example
WHERE (b.key, t.key) IN (SELECT board, target FROM ready)
"""

ROBUST_EXAMPLES = f"""
SELECT board, target, example, right FROM worst_examples WHERE {stands("board", "target")}
"""

MISSING = 8
"""So many of the required attacks that a target lacks are named; a board may require thousands."""

# The worst case over the required attacks, superseded targets included.
WORST_CASES = f"""
WITH examples AS MATERIALIZED (SELECT * FROM worst_examples),
sums AS MATERIALIZED (
  SELECT board, target, count(*) AS n, sum(right) AS right FROM examples GROUP BY board, target
), gaps AS MATERIALIZED (
  SELECT board, target, group_concat(missing, '; ') FILTER (WHERE place <= {MISSING})
    || CASE WHEN count(missing) > {MISSING} THEN printf('; and %d more', count(missing) - {MISSING}) ELSE '' END
    AS missing
  FROM (
    SELECT *, row_number() OVER (PARTITION BY board, target, missing IS NULL ORDER BY entrant) AS place
    FROM required_cells
  ) GROUP BY board, target
)
SELECT c.board, c.board_name, c.target, c.target_label, c.current, c.standing, c.event, s.n, s.right,
  {wilson.columns("s.right", "s.n", "accuracy")},
  CASE WHEN s.n IS NOT NULL THEN NULL
    WHEN c.n < c.count THEN 'the clean pass is not finished'
    WHEN g.missing IS NOT NULL THEN g.missing
    WHEN EXISTS (SELECT 1 FROM board_cells p WHERE p.board = c.board AND p.source = c.target AND p.current AND p.judged)
      THEN 'no attack that was run is required'
    ELSE 'no attack was run' END AS unranked
FROM answered c
LEFT JOIN sums s ON s.board = c.board AND s.target = c.target
LEFT JOIN gaps g ON g.board = c.board AND g.target = c.target
"""

ROBUST_ACCURACY = """
SELECT board, board_name, target, target_label, n, right, accuracy, accuracy_low, accuracy_high, unranked
FROM worst_cases WHERE current
"""

# What a board shows below its ranking: a network by the sources, versions or revisions that it was asked by before.
EARLIER = """
SELECT w.board, w.board_name, w.target, w.target_label, w.standing, w.event, a.n AS clean_n, a.right AS clean_right,
  w.n, w.right, w.accuracy, w.accuracy_low, w.accuracy_high, w.unranked
FROM worst_cases w
JOIN answered a ON a.board = w.board AND a.target = w.target
WHERE NOT w.current AND w.event IS NOT NULL
"""

# Entrants that are one attack with several parameters (a β each, say): the best single one, and the pointwise worst
# over all of them, an example counting as soon as any of them gets through.
SWEEPS = f"""
WITH named AS MATERIALIZED (
  SELECT *, substr(attack, 1, instr(attack || '(', '(') - 1) AS name
  FROM board_cells WHERE current AND judged AND stands
), several AS MATERIALIZED (
  SELECT board, source, name, goal, count(*) AS entrants
  FROM named GROUP BY board, source, name, goal HAVING count(*) > 1
), examples AS MATERIALIZED (
  SELECT p.board, p.source, p.name, p.goal, o.example, max(o.fooled) AS fooled,
    max(o.fooled AND NOT o.alarm) AS undetected, o.threshold
  FROM several s
  JOIN named p USING (board, source, name, goal)
  CROSS JOIN judged_outcomes o ON o.cell_id = p.cell_id AND o.board = p.board AND o.target_id = p.source_id
  GROUP BY p.board, p.source, p.name, p.goal, o.example
), pointwise AS (
  SELECT board, source, name, goal, count(*) AS n, sum(fooled) AS fooled,
    CASE WHEN threshold IS NOT NULL THEN sum(undetected) END AS undetected
  FROM examples GROUP BY board, source, name, goal
), ordered AS (
  SELECT r.board, r.source, n.name, r.goal, r.entrant, r.fooled, r.undetected,
    row_number() OVER (PARTITION BY r.board, r.source, n.name, r.goal ORDER BY r.fooled DESC, r.entrant) AS by_fooled,
    row_number() OVER (PARTITION BY r.board, r.source, n.name, r.goal ORDER BY r.undetected DESC, r.entrant)
      AS by_undetected
  FROM rates r JOIN named n ON n.board = r.board AND n.cell = r.cell AND n.source = r.source WHERE r.own
)
SELECT p.board, b.name AS board_name, p.source AS target, t.label AS target_label, p.name, p.goal, s.entrants, p.n,
  f.entrant AS best, f.fooled AS best_fooled, u.entrant AS best_hidden, u.undetected AS best_undetected,
  p.fooled, {wilson.columns("p.fooled", "p.n", "rate")},
  p.undetected, {wilson.columns("p.undetected", "p.n", "undetected_rate")}
FROM pointwise p
JOIN several s USING (board, source, name, goal)
JOIN boards b ON b.key = p.board
JOIN targets t ON t.key = p.source
JOIN ordered f ON (f.board, f.source, f.name, f.goal, f.by_fooled) = (p.board, p.source, p.name, p.goal, 1)
JOIN ordered u ON (u.board, u.source, u.name, u.goal, u.by_undetected) = (p.board, p.source, p.name, p.goal, 1)
"""

# Right on the clean image, and proved to stay so at least as far as the board's ball reaches.
CERTIFIED = f"""
WITH listed AS MATERIALIZED (SELECT board, target FROM clean_accuracy),
counted AS (
  SELECT b.key AS board, b.name AS board_name, t.key AS target, t.label AS target_label, b.count, count(*) AS n,
    count(*) FILTER (WHERE p.predicted = c.label AND p.radius >= b.eps) AS right
  FROM boards b
  JOIN targets t ON t.data_fingerprint = b.data_fingerprint
  JOIN example_sets e ON e.fingerprint = b.examples
  JOIN certificates p ON p.target = t.id AND p.example = e.example AND p.family = b.family
  JOIN clean c ON c.target = t.id AND c.example = e.example
  WHERE (b.key, t.key) IN (SELECT board, target FROM listed)
  GROUP BY b.key, t.id
)
SELECT *, {wilson.columns("right", "n", "accuracy")} FROM counted WHERE n = count
"""

# Cells in a board's ball, on a target that the board lists, yet on other examples: they count on another board or on
# none, and may contradict this one.
ELSEWHERE = f"""
WITH listed AS MATERIALIZED (SELECT board, target FROM clean_accuracy),
counted AS MATERIALIZED (
  SELECT o.board_id, o.cell_id, o.target_id, count(*) AS n,
    count(*) FILTER (WHERE c.predicted = c.label AND NOT (o.predicted <> c.label AND o.inside)) AS still_right
  FROM judged_outcomes o
  CROSS JOIN clean c ON c.target = o.target_id AND c.example = o.example
  WHERE NOT o.same_examples AND o.target = o.source AND +o.cell_id IN (SELECT cell FROM cell_state WHERE current)
    AND (o.board, o.target) IN (SELECT board, target FROM listed) AND {whole("o.cell_id", "o.target_id")}
  GROUP BY o.cell_id, o.board_id
)
SELECT b.key AS board, b.name AS board_name, t.key AS target, t.label AS target_label, k.key AS cell, s.entrant,
  k.attack, k.goal, k.examples, k.count, n, still_right, {wilson.columns("still_right", "n", "accuracy")}
FROM counted
JOIN boards b ON b.rowid = counted.board_id
JOIN cells k ON k.id = counted.cell_id
JOIN cell_state s ON s.cell = k.id
JOIN targets t ON t.id = counted.target_id
"""

# Cells that are done on examples that no board judges: merged without their board, say.
UNPLACED = f"""
WITH counted AS MATERIALIZED (
  SELECT k.id AS cell_id, t.id AS target_id, count(*) AS n,
    count(*) FILTER (WHERE o.reached AND o.violation IS NULL) AS fooled,
    count(*) FILTER (WHERE c.predicted = c.label AND NOT (o.predicted <> c.label AND o.violation IS NULL))
      AS still_right
  FROM cells k
  CROSS JOIN targets t ON t.key = k.source
  CROSS JOIN outcomes o ON o.cell = k.id AND o.target = t.id
  LEFT JOIN clean c ON c.target = o.target AND c.example = o.example
  WHERE +k.id IN (SELECT cell FROM cell_state WHERE current)
    AND NOT EXISTS (SELECT 1 FROM boards b WHERE {SAME_BOARD}) AND {whole("k.id", "t.id")}
  GROUP BY k.id
)
SELECT k.key AS cell, s.entrant, k.attack, k.goal, k.source, t.label AS source_label, k.dataset, k.examples, k.count,
  n, fooled, {wilson.columns("fooled", "n", "rate")}, still_right, {wilson.columns("still_right", "n", "accuracy")}
FROM counted
JOIN cells k ON k.id = counted.cell_id
JOIN cell_state s ON s.cell = k.id
JOIN targets t ON t.id = counted.target_id
"""
