"""What stands where, as SQL: which cell of several versions counts, which target of a lineage, and on which boards."""

from __future__ import annotations

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
        || CASE WHEN c.precision IS NOT NULL THEN ' · precision=' || c.precision ELSE '' END
      END AS entrant,
    CASE WHEN c.protocol < 2 THEN NULL ELSE c.seed END AS seed,
    coalesce(e.status, 'unfinished') AS status, e.reason, e.id AS event, e.run, e.at, e.seconds
  FROM cells c LEFT JOIN cell_events e ON e.id = (SELECT max(id) FROM cell_events WHERE cell = c.id)
)
SELECT cell, key, entrant, status, reason, event, run, at, seconds,
  status = 'done' AND 1 = row_number() OVER (same ORDER BY status = 'done' DESC, event DESC) AS current,
  1 = row_number() OVER (same ORDER BY event DESC NULLS LAST, cell DESC) AS latest
FROM state
WINDOW same AS (PARTITION BY data_fingerprint, examples, protocol, family, eps, source, entrant, seed)
"""

SHIPPED = "substr({row}.ball, 1, instr({row}.ball, '\"entry_point\"'))"
"""SQL for what keys take in of who shipped a ball: the distribution and the digest of its source, which stand first."""

SAME_BALL = f"""
  k.data_fingerprint = b.data_fingerprint AND k.protocol = b.protocol
  AND k.family = b.family AND (k.eps = b.eps OR (k.eps IS NULL AND k.minimizes))
  AND (
    k.ball IS b.ball
    OR ({SHIPPED.format(row="k")} = {SHIPPED.format(row="b")} AND instr(k.ball, '"digest": ""') = 0)
  )
""".strip()
SAME_EXAMPLES = "k.examples = b.examples"
# The seeds are the board's: else whoever tries a hundred of them would show the best.
SAME_SEED = "(b.seed IS NULL OR b.seed IS k.seed)"
SAME_BOARD = f"{SAME_EXAMPLES} AND {SAME_SEED} AND {SAME_BALL}"

# Targets of one lineage are one network with one set of parameters, behind the same defenses, asked about the same
# images: their keys tell apart what made them (sources, versions, the core's revisions), never another entrant. Names
# are those in front of the parameters, since a label leaves out what has its default; where weights lie says nothing.
# Who brought no weights is of a lineage of its own.
LINEAGES = """
SELECT t.id AS target_id, t.key AS target,
  t.data_fingerprint || char(10) || coalesce(nullif(t.weights_sha256, ''), t.key) || char(10)
  || coalesce(t.false_positive_rate, '') || char(10)
  || substr(t.model, 1, instr(t.model || '(', '(') - 1) || char(10) || (
    WITH RECURSIVE split(part, rest) AS (
      SELECT NULL, t.defenses || '+'
      UNION ALL SELECT substr(rest, 1, instr(rest, '+') - 1), substr(rest, instr(rest, '+') + 1)
      FROM split WHERE instr(rest, '+') > 0
    )
    SELECT coalesce(group_concat(substr(part, 1, instr(part || '(', '(') - 1), '+'), '') FROM split
  ) || char(10) || (
    SELECT coalesce(group_concat(fullkey || ' ' || type || ' ' || coalesce(atom, ''), char(10)), '')
    FROM json_tree(t.params) WHERE fullkey <> '$.model.weights'
  ) AS lineage
FROM targets t
"""

# Targets that a board may list: of its data set and protocol, with clean answers to some of its examples, or with cells
# here. A target's key names its protocol, so that all its cells are of one. Of a lineage the one asked for last counts
# and is `current`; for the others `standing` says which that is.
BOARD_TARGETS = f"""
WITH protocols AS MATERIALIZED (SELECT DISTINCT source, protocol FROM cells),
asked AS MATERIALIZED (
  SELECT b.key AS board, k.source AS target, max(s.event) AS event
  FROM boards b
  JOIN cells k ON {SAME_BOARD}
  JOIN cell_state s ON s.cell = k.id
  GROUP BY b.key, k.source
), placed AS (
  SELECT b.key AS board, l.target, l.target_id, l.lineage, a.event
  FROM boards b
  JOIN targets t ON t.data_fingerprint = b.data_fingerprint
  JOIN lineages l ON l.target_id = t.id
  LEFT JOIN asked a ON a.board = b.key AND a.target = t.key
  WHERE NOT EXISTS (SELECT 1 FROM protocols p WHERE p.source = t.key AND p.protocol <> b.protocol)
    AND (a.event IS NOT NULL OR EXISTS (
      SELECT 1 FROM example_sets e JOIN clean c ON c.target = t.id AND c.example = e.example
      WHERE e.fingerprint = b.examples
    ))
)
SELECT board, target, event, first_value(target) OVER lineage AS standing, 1 = row_number() OVER lineage AS current
FROM placed
WINDOW lineage AS (PARTITION BY board, lineage ORDER BY event DESC NULLS LAST, target_id DESC)
"""


def stands(board: str, target: str) -> str:
    """SQL for whether a board's target is not an earlier one of its lineage.

    A plain NOT IN would compare every row wherever it finds none, since it must tell false from NULL.
    """
    earlier = "SELECT board, target FROM board_targets WHERE NOT current"
    return f"CASE WHEN ({board}, {target}) IN ({earlier}) THEN 0 ELSE 1 END"


# A cell in the unbounded ball belongs to every board of its family. Protocols never meet.
BOARD_CELLS = f"""
SELECT b.key AS board, b.name AS board_name, b.eps AS radius, k.id AS cell_id, k.key AS cell, s.entrant, k.attack,
  k.goal, k.stop, k.minimizes, k.source, t.id AS source_id, t.label AS source_label, s.status, s.reason, s.current,
  s.latest, s.seconds, {stands("b.key", "t.key")} AS stands, NOT EXISTS (
    SELECT 1 FROM shards h WHERE h.cell = k.id AND NOT EXISTS (
      SELECT 1 FROM judgements j WHERE j.cell = h.cell AND j.target = t.id AND j.shard = h.shard
    )
  ) AS judged
FROM boards b
JOIN cells k ON {SAME_BOARD}
JOIN cell_state s ON s.cell = k.id
JOIN targets t ON t.key = k.source
"""
