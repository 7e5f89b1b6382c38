"""The tables with which the schema begins, as its first step makes them; later steps add columns and tables to these.

Never edited, like the steps in `migrations`.
"""

from __future__ import annotations

# Cells and targets are known by content keys; inside the big tables a small integer stands for them, and its value
# is an accident of the order of insertion.
FIRST_TABLES = (
    """
    CREATE TABLE runs (
      id TEXT PRIMARY KEY NOT NULL,
      started TEXT NOT NULL,
      suite TEXT,
      settings TEXT,
      seed INTEGER,
      protocol INTEGER,
      versions TEXT,
      hardware TEXT,
      command TEXT
    ) STRICT
    """,
    """
    CREATE TABLE run_ends (
      run TEXT PRIMARY KEY NOT NULL REFERENCES runs (id),
      at TEXT NOT NULL,
      how TEXT NOT NULL
    ) STRICT
    """,
    """
    CREATE TABLE plugins (
      run TEXT NOT NULL REFERENCES runs (id),
      kind TEXT NOT NULL,
      label TEXT NOT NULL,
      distribution TEXT,
      version TEXT,
      digest TEXT,
      error TEXT,
      PRIMARY KEY (run, kind, label)
    ) STRICT, WITHOUT ROWID
    """,
    """
    CREATE TABLE datasets (
      fingerprint TEXT PRIMARY KEY NOT NULL,
      label TEXT NOT NULL,
      classes TEXT NOT NULL,
      shape TEXT NOT NULL,
      source TEXT,
      partial TEXT,
      train_fingerprint TEXT,
      calibrate_fingerprint TEXT,
      count INTEGER NOT NULL
    ) STRICT
    """,
    """
    CREATE TABLE example_sets (
      fingerprint TEXT NOT NULL,
      position INTEGER NOT NULL,
      example INTEGER NOT NULL,
      PRIMARY KEY (fingerprint, position)
    ) STRICT, WITHOUT ROWID
    """,
    """
    CREATE TABLE targets (
      id INTEGER PRIMARY KEY,
      key TEXT NOT NULL UNIQUE,
      label TEXT NOT NULL,
      model TEXT NOT NULL,
      defenses TEXT NOT NULL,
      dataset TEXT NOT NULL,
      data_fingerprint TEXT NOT NULL,
      params TEXT,
      origins TEXT,
      weights_sha256 TEXT,
      recipe TEXT,
      access TEXT,
      threshold REAL,
      false_positive_rate REAL,
      randomised INTEGER NOT NULL DEFAULT 0
    ) STRICT
    """,
    """
    CREATE TABLE clean (
      target INTEGER NOT NULL REFERENCES targets (id),
      example INTEGER NOT NULL,
      label INTEGER NOT NULL,
      predicted INTEGER NOT NULL,
      confidence REAL,
      suspicion REAL,
      PRIMARY KEY (target, example)
    ) STRICT, WITHOUT ROWID
    """,
    """
    CREATE TABLE boards (
      key TEXT PRIMARY KEY NOT NULL,
      name TEXT NOT NULL,
      dataset TEXT NOT NULL,
      data_fingerprint TEXT NOT NULL,
      threat TEXT NOT NULL,
      family TEXT NOT NULL,
      params TEXT,
      eps REAL NOT NULL,
      examples TEXT NOT NULL,
      count INTEGER NOT NULL,
      required TEXT NOT NULL,
      protocol INTEGER NOT NULL
    ) STRICT
    """,
    """
    CREATE TABLE cells (
      id INTEGER PRIMARY KEY,
      key TEXT NOT NULL UNIQUE,
      dataset TEXT NOT NULL,
      data_fingerprint TEXT NOT NULL,
      examples TEXT NOT NULL,
      count INTEGER NOT NULL,
      threat TEXT NOT NULL,
      family TEXT NOT NULL,
      params TEXT,
      eps REAL,
      minimizes INTEGER NOT NULL DEFAULT 0,
      attack TEXT NOT NULL,
      attack_params TEXT,
      origin TEXT,
      goal TEXT NOT NULL,
      stop TEXT,
      source TEXT NOT NULL REFERENCES targets (key),
      seed INTEGER,
      protocol INTEGER NOT NULL,
      budget INTEGER
    ) STRICT
    """,
    "CREATE INDEX cells_of_family ON cells (data_fingerprint, examples, family, protocol)",
    """
    CREATE TABLE cell_events (
      id INTEGER PRIMARY KEY,
      cell INTEGER NOT NULL REFERENCES cells (id),
      run TEXT REFERENCES runs (id),
      at TEXT NOT NULL,
      status TEXT NOT NULL CHECK (status IN ('done', 'failed')),
      reason TEXT,
      seconds REAL
    ) STRICT
    """,
    "CREATE INDEX events_of_cell ON cell_events (cell, id)",
    """
    CREATE TABLE shards (
      cell INTEGER NOT NULL REFERENCES cells (id),
      shard INTEGER NOT NULL,
      first INTEGER NOT NULL,
      count INTEGER NOT NULL,
      run TEXT REFERENCES runs (id),
      batch INTEGER,
      seconds REAL,
      forwards INTEGER,
      backwards INTEGER,
      artifact TEXT,
      PRIMARY KEY (cell, shard)
    ) STRICT, WITHOUT ROWID
    """,
    """
    CREATE TABLE judgements (
      cell INTEGER NOT NULL,
      target INTEGER NOT NULL REFERENCES targets (id),
      shard INTEGER NOT NULL,
      PRIMARY KEY (cell, target, shard),
      FOREIGN KEY (cell, shard) REFERENCES shards (cell, shard)
    ) STRICT, WITHOUT ROWID
    """,
    """
    CREATE TABLE outcomes (
      cell INTEGER NOT NULL,
      target INTEGER NOT NULL,
      example INTEGER NOT NULL,
      goal_label INTEGER,
      reached INTEGER NOT NULL,
      predicted INTEGER NOT NULL,
      confidence REAL,
      suspicion REAL,
      size REAL,
      violation TEXT,
      excess REAL,
      PRIMARY KEY (cell, target, example)
    ) STRICT, WITHOUT ROWID
    """,
    """
    CREATE TABLE artifacts (
      sha256 TEXT PRIMARY KEY NOT NULL,
      bytes INTEGER NOT NULL,
      kind TEXT
    ) STRICT
    """,
    """
    CREATE TABLE skips (
      run TEXT NOT NULL REFERENCES runs (id),
      dataset TEXT NOT NULL,
      model TEXT NOT NULL,
      defenses TEXT NOT NULL,
      attack TEXT NOT NULL,
      threat TEXT NOT NULL,
      goal TEXT NOT NULL,
      reason TEXT NOT NULL,
      PRIMARY KEY (run, dataset, model, defenses, attack, threat, goal)
    ) STRICT, WITHOUT ROWID
    """,
)
