"""The rates, as SQL views over the facts; any SQLite shell with math functions can read them.

Each view is dropped and made again whenever its text here differs from the database's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import sqlite3


def wilson(k: str, n: str, name: str) -> str:
    """Columns `{name}`, `{name}_low` and `{name}_high`: k of n and its 95 % interval (Wilson, 1927); NULL for n = 0."""
    z = 1.959963984540054
    share = f"1.0 * {k} / {n}"
    centre, root = f"({k} + {z * z / 2!r})", f"{z!r} * sqrt(1.0 * {k} * ({n} - {k}) / {n} + {z * z / 4!r})"
    return (
        f"{share} AS {name},\n"
        f"  max(0.0, ({centre} - {root}) / ({n} + {z * z!r})) AS {name}_low,\n"
        f"  min(1.0, ({centre} + {root}) / ({n} + {z * z!r})) AS {name}_high"
    )


# An entrant is an attack with all that makes it stronger or weaker than its namesake: `pgd`, `pgd → class=3`,
# `pgd · stop=end · budget=100`. Of the cells that differ only in what a newer version of something did, the one
# finished last counts. Up to protocol 1 an entrant was attack and goal alone, and the seed nobody's.
CELL_STATE = """
WITH state AS (
  SELECT c.id AS cell, c.key, c.data_fingerprint, c.examples, c.protocol, c.family, c.eps, c.source, c.attack, c.goal,
    CASE c.goal WHEN 'untargeted' THEN c.attack ELSE c.attack || ' → ' || c.goal END || CASE WHEN c.protocol < 2 THEN ''
      ELSE CASE WHEN c.fit <> 'calibrate' THEN ' · fit=' || c.fit ELSE '' END
        || CASE WHEN c.stop <> 'first' THEN ' · stop=' || c.stop ELSE '' END
        || CASE WHEN c.budget IS NOT NULL THEN ' · budget=' || c.budget ELSE '' END
      END AS entrant,
    CASE WHEN c.protocol < 2 THEN NULL ELSE c.seed END AS seed,
    coalesce(e.status, 'unfinished') AS status, e.reason, e.id AS event, e.run, e.at, e.seconds
  FROM cells c LEFT JOIN cell_events e ON e.id = (SELECT max(id) FROM cell_events WHERE cell = c.id)
)
SELECT cell, key, entrant, status, reason, run, at, seconds,
  status = 'done' AND 1 = row_number() OVER (same ORDER BY status = 'done' DESC, event DESC) AS current,
  1 = row_number() OVER (same ORDER BY event DESC NULLS LAST, cell DESC) AS latest
FROM state
WINDOW same AS (PARTITION BY data_fingerprint, examples, protocol, family, eps, source, entrant, seed)
"""

SAME_BALL = """
  k.data_fingerprint = b.data_fingerprint AND k.protocol = b.protocol
  AND k.family = b.family AND (k.eps = b.eps OR (k.eps IS NULL AND k.minimizes))
""".strip()
# The seeds are the board's: else whoever tries a hundred of them would show the best.
SAME_BOARD = f"k.examples = b.examples AND (b.seed IS NULL OR b.seed IS k.seed) AND {SAME_BALL}"

# A cell in the unbounded ball belongs to every board of its family. Protocols never meet.
BOARD_CELLS = f"""
SELECT b.key AS board, b.name AS board_name, b.eps AS radius, k.id AS cell_id, k.key AS cell, s.entrant, k.attack,
  k.goal, k.stop, k.minimizes, k.source, t.id AS source_id, t.label AS source_label, s.status, s.reason, s.current,
  s.latest, s.seconds, NOT EXISTS (
    SELECT 1 FROM shards h WHERE h.cell = k.id AND NOT EXISTS (
      SELECT 1 FROM judgements j WHERE j.cell = h.cell AND j.target = t.id AND j.shard = h.shard
    )
  ) AS judged
FROM boards b
JOIN cells k ON {SAME_BOARD}
JOIN cell_state s ON s.cell = k.id
JOIN targets t ON t.key = k.source
"""

IN_BALL = "o.violation IS NULL AND (NOT k.minimizes OR o.size <= b.eps * (1 + 1e-6))"
FOOLED = f"o.reached AND {IN_BALL}"
# Images that were wrong when clean need no perturbation, and their zeros would be averaged in; protocol 1 did so.
SIZED = "(c.predicted = c.label OR b.protocol < 2)"
# A suspicion that is no number raises no alarm.
ALARM = "coalesce({row}.suspicion > t.threshold, 0)"

# One pass over the outcomes, in the order of their primary key: CROSS JOIN and NOT INDEXED hold SQLite to loops whose
# order is that of GROUP BY, where its own plan would sort every outcome (measured: 0.7 s a million instead of 2.8).
# A target counts once all shards of the cell are judged on it.
RATES = f"""
WITH counted AS MATERIALIZED (
  SELECT b.rowid AS board_id, k.id AS cell_id, t.id AS target_id, count(*) AS n,
    count(*) FILTER (WHERE {FOOLED}) AS fooled,
    count(*) FILTER (WHERE c.predicted = c.label) AS first_right,
    count(*) FILTER (WHERE c.predicted = c.label AND {FOOLED}) AS fooled_first_right,
    count(*) FILTER (WHERE c.predicted = c.label AND o.predicted <> c.label AND {IN_BALL}) AS broken,
    count(*) FILTER (WHERE {FOOLED} AND NOT {ALARM.format(row="o")}) AS undetected,
    avg(o.size) FILTER (WHERE {SIZED} AND {FOOLED}) AS mean_size,
    count(o.violation) AS violations
  FROM cells k
  CROSS JOIN boards b NOT INDEXED
  CROSS JOIN targets t NOT INDEXED
  CROSS JOIN outcomes o ON o.cell = k.id AND o.target = t.id
  LEFT JOIN clean c ON c.target = o.target AND c.example = o.example
  WHERE +k.id IN (SELECT cell FROM cell_state WHERE current) AND {SAME_BOARD}
    AND (SELECT count(*) FROM judgements j WHERE j.cell = k.id AND j.target = t.id)
      = (SELECT count(*) FROM shards s WHERE s.cell = k.id)
  GROUP BY k.id, b.rowid, t.id
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
  n, fooled, {wilson("fooled", "n", "rate")},
  first_right, fooled_first_right, {wilson("fooled_first_right", "first_right", "rate_first_right")},
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
  SELECT b.rowid AS board_id, k.id AS cell_id, t.id AS target_id, o.size,
    row_number() OVER (PARTITION BY b.rowid, k.id, t.id ORDER BY o.size) AS place,
    count(*) OVER (PARTITION BY b.rowid, k.id, t.id) AS n
  FROM cells k
  CROSS JOIN boards b NOT INDEXED
  CROSS JOIN targets t ON t.key = k.source
  CROSS JOIN outcomes o ON o.cell = k.id AND o.target = t.id
  CROSS JOIN clean c ON c.target = o.target AND c.example = o.example
  WHERE +k.id IN (SELECT cell FROM cell_state WHERE current) AND {SAME_BOARD}
    AND {SIZED} AND {FOOLED}
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
  n, still_right, {wilson("still_right", "n", "accuracy")}
FROM rates WHERE own
"""

# Targets of the board's data set and protocol that have answered some of its examples. A target's key names its
# protocol, so that all its cells are of one.
CLEAN_ACCURACY = f"""
WITH protocols AS MATERIALIZED (SELECT DISTINCT source, protocol FROM cells),
counted AS MATERIALIZED (
  SELECT b.rowid AS board_id, t.id AS target_id, count(*) AS n, count(*) FILTER (WHERE c.predicted = c.label) AS right,
    count(*) FILTER (WHERE {ALARM.format(row="c")}) AS alarms
  FROM boards b NOT INDEXED
  CROSS JOIN targets t NOT INDEXED
  CROSS JOIN example_sets e ON e.fingerprint = b.examples
  CROSS JOIN clean c ON c.target = t.id AND c.example = e.example
  WHERE t.data_fingerprint = b.data_fingerprint
    AND NOT EXISTS (SELECT 1 FROM protocols p WHERE p.source = t.key AND p.protocol <> b.protocol)
  GROUP BY b.rowid, t.id
), named AS (
  SELECT b.key AS board, b.name AS board_name, t.key AS target, t.label AS target_label, b.count, n, right,
    CASE WHEN t.threshold IS NOT NULL THEN alarms END AS alarms, t.false_positive_rate AS asked
  FROM counted JOIN boards b ON b.rowid = counted.board_id JOIN targets t ON t.id = counted.target_id
)
SELECT *, {wilson("right", "n", "accuracy")},
  {wilson("alarms", "n", "false_positives")}
FROM named
"""

UNDETECTED = f"""
SELECT r.board, r.board_name, r.cell, r.entrant, r.attack, r.goal, r.stop, r.source, r.source_label, r.target,
  r.target_label, r.own, r.n, r.undetected, {wilson("r.undetected", "r.n", "rate")},
  c.alarms, c.n AS clean_n, c.false_positives, c.false_positives_low, c.false_positives_high, c.asked
FROM rates r JOIN clean_accuracy c ON c.board = r.board AND c.target = r.target
WHERE r.undetected IS NOT NULL
"""

# What each target must have been through on each board, and the cell that shows it.
REQUIRED_CELLS = """
WITH placed AS MATERIALIZED (SELECT * FROM board_cells),
listed AS MATERIALIZED (SELECT board, target FROM clean_accuracy)
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
ROBUST_EXAMPLES = f"""
WITH required AS MATERIALIZED (SELECT * FROM required_cells),
needed AS MATERIALIZED (
  SELECT b.rowid AS board_id, t.id AS target_id, k.id, k.minimizes
  FROM required r
  JOIN boards b ON b.key = r.board
  JOIN targets t ON t.key = r.target
  JOIN cells k ON k.id = r.cell_id
), ready AS MATERIALIZED (
  SELECT board, target FROM clean_accuracy WHERE n = count
  INTERSECT SELECT board, target FROM required GROUP BY board, target HAVING count(missing) = 0
)
SELECT b.key AS board, t.key AS target, e.example, c.predicted = c.label AND NOT EXISTS (
    SELECT 1 FROM needed k
    CROSS JOIN outcomes o ON o.cell = k.id AND o.target = t.id AND o.example = e.example
    WHERE k.board_id = b.rowid AND k.target_id = t.id AND o.predicted <> c.label AND {IN_BALL}
  ) AS right
FROM boards b NOT INDEXED
CROSS JOIN targets t NOT INDEXED
CROSS JOIN example_sets e ON e.fingerprint = b.examples
CROSS JOIN clean c ON c.target = t.id AND c.example = e.example
WHERE (b.key, t.key) IN (SELECT board, target FROM ready)
"""

MISSING = 8
"""So many of the required attacks that a target lacks are named; a board may require thousands."""

ROBUST_ACCURACY = f"""
WITH examples AS MATERIALIZED (SELECT * FROM robust_examples),
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
SELECT c.board, c.board_name, c.target, c.target_label, s.n, s.right, {wilson("s.right", "s.n", "accuracy")},
  CASE WHEN s.n IS NOT NULL THEN NULL
    WHEN c.n < c.count THEN 'the clean pass is not finished'
    WHEN g.missing IS NOT NULL THEN g.missing
    WHEN EXISTS (SELECT 1 FROM board_cells p WHERE p.board = c.board AND p.source = c.target AND p.current AND p.judged)
      THEN 'no attack that was run is required'
    ELSE 'no attack was run' END AS unranked
FROM clean_accuracy c
LEFT JOIN sums s ON s.board = c.board AND s.target = c.target
LEFT JOIN gaps g ON g.board = c.board AND g.target = c.target
"""

# Entrants that are one attack with several parameters (a β each, say): the best single one, and the pointwise worst
# over all of them, an example counting as soon as any of them gets through.
SWEEPS = f"""
WITH named AS MATERIALIZED (
  SELECT *, substr(attack, 1, instr(attack || '(', '(') - 1) AS name
  FROM board_cells WHERE current AND judged
), several AS MATERIALIZED (
  SELECT board, source, name, goal, count(*) AS entrants
  FROM named GROUP BY board, source, name, goal HAVING count(*) > 1
), examples AS MATERIALIZED (
  SELECT p.board, p.source, p.name, p.goal, o.example, max({FOOLED}) AS fooled,
    max({FOOLED} AND NOT {ALARM.format(row="o")}) AS undetected, t.threshold
  FROM several s
  JOIN named p USING (board, source, name, goal)
  JOIN boards b ON b.key = p.board
  JOIN cells k ON k.id = p.cell_id
  JOIN targets t ON t.id = p.source_id
  CROSS JOIN outcomes o ON o.cell = p.cell_id AND o.target = p.source_id
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
  p.fooled, {wilson("p.fooled", "p.n", "rate")}, p.undetected, {wilson("p.undetected", "p.n", "undetected_rate")}
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
SELECT *, {wilson("right", "n", "accuracy")} FROM counted WHERE n = count
"""

JUDGED = """
  (SELECT count(*) FROM judgements j WHERE j.cell = k.id AND j.target = t.id)
    = (SELECT count(*) FROM shards s WHERE s.cell = k.id)
""".strip()

# Cells in a board's ball, on a target that the board lists, yet on other examples: they count on another board or on
# none, and may contradict this one.
ELSEWHERE = f"""
WITH listed AS MATERIALIZED (SELECT board, target FROM clean_accuracy),
counted AS MATERIALIZED (
  SELECT b.rowid AS board_id, k.id AS cell_id, t.id AS target_id, count(*) AS n,
    count(*) FILTER (WHERE c.predicted = c.label AND NOT (o.predicted <> c.label AND {IN_BALL})) AS still_right
  FROM cells k
  CROSS JOIN boards b NOT INDEXED
  CROSS JOIN targets t ON t.key = k.source
  CROSS JOIN outcomes o ON o.cell = k.id AND o.target = t.id
  CROSS JOIN clean c ON c.target = o.target AND c.example = o.example
  WHERE +k.id IN (SELECT cell FROM cell_state WHERE current) AND k.examples <> b.examples AND {SAME_BALL}
    AND (b.key, t.key) IN (SELECT board, target FROM listed) AND {JUDGED}
  GROUP BY k.id, b.rowid
)
SELECT b.key AS board, b.name AS board_name, t.key AS target, t.label AS target_label, k.key AS cell, s.entrant,
  k.attack, k.goal, k.examples, k.count, n, still_right, {wilson("still_right", "n", "accuracy")}
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
    AND NOT EXISTS (SELECT 1 FROM boards b WHERE {SAME_BOARD}) AND {JUDGED}
  GROUP BY k.id
)
SELECT k.key AS cell, s.entrant, k.attack, k.goal, k.source, t.label AS source_label, k.dataset, k.examples, k.count,
  n, fooled, {wilson("fooled", "n", "rate")}, still_right, {wilson("still_right", "n", "accuracy")}
FROM counted
JOIN cells k ON k.id = counted.cell_id
JOIN cell_state s ON s.cell = k.id
JOIN targets t ON t.id = counted.target_id
"""

VIEWS = {
    "cell_state": CELL_STATE,
    "board_cells": BOARD_CELLS,
    "rates": RATES,
    "fooling": FOOLING,
    "transfer": TRANSFER,
    "sizes": SIZES,
    "attack_accuracy": ATTACK_ACCURACY,
    "clean_accuracy": CLEAN_ACCURACY,
    "undetected": UNDETECTED,
    "sweeps": SWEEPS,
    "certified": CERTIFIED,
    "required_cells": REQUIRED_CELLS,
    "robust_examples": ROBUST_EXAMPLES,
    "robust_accuracy": ROBUST_ACCURACY,
    "elsewhere": ELSEWHERE,
    "unplaced": UNPLACED,
}
"""In an order in which each needs only those before it."""

TALLIED = frozenset({"rates", "clean_accuracy", "required_cells", "robust_examples", "elsewhere"})
"""The ones that read every outcome or are read by many others."""


def current(connection: sqlite3.Connection) -> bool:
    """Whether the database's views are these."""
    return _stored(connection) == {name: _text(name) for name in VIEWS}


def refresh(connection: sqlite3.Connection, *, temporary: bool = False) -> None:
    """Make the views anew where they differ; temporary ones are seen by this connection alone and hide the others."""
    if temporary:
        for name in VIEWS:
            connection.execute(f"CREATE TEMP VIEW {name} AS\n{VIEWS[name].strip()}")
    elif not current(connection):
        drop(connection)
        for name in VIEWS:
            connection.execute(_text(name))


def tally(connection: sqlite3.Connection) -> None:
    """Work the rates out once for all of them: tables and views of this connection, until its transaction ends."""
    for name, sql in VIEWS.items():
        connection.execute(f"DROP VIEW IF EXISTS temp.{name}")
        kind = "TABLE" if name in TALLIED else "VIEW"
        connection.execute(f"CREATE TEMP {kind} {name} AS\n{sql.strip()}")


def drop(connection: sqlite3.Connection) -> None:
    for name in _stored(connection):
        connection.execute(f'DROP VIEW "{name}"')


def _text(name: str) -> str:
    return f"CREATE VIEW {name} AS\n{VIEWS[name].strip()}"


def _stored(connection: sqlite3.Connection) -> dict[str, str]:
    found = connection.execute("SELECT name, sql FROM main.sqlite_schema WHERE type = 'view'")
    return {row[0]: row[1] for row in found}
