"""The tables of studies: what analyses found, and how a study stood when it was last performed."""

STUDY_TABLES = {
    # what was found, under a key that takes in everything it depends on
    "analyses": """
        CREATE TABLE analyses (
          id INTEGER PRIMARY KEY,
          key TEXT NOT NULL UNIQUE,
          name TEXT NOT NULL,
          label TEXT NOT NULL,
          params TEXT NOT NULL,
          origin TEXT NOT NULL,
          reads TEXT NOT NULL,
          seed INTEGER NOT NULL,
          at TEXT NOT NULL,
          seconds REAL NOT NULL,
          versions TEXT,
          hardware TEXT
        ) STRICT
    """,
    "findings": """
        CREATE TABLE findings (
          analysis INTEGER NOT NULL REFERENCES analyses (id),
          position INTEGER NOT NULL,
          name TEXT NOT NULL,
          value REAL,
          low REAL,
          high REAL,
          n INTEGER,
          unit TEXT NOT NULL,
          PRIMARY KEY (analysis, position),
          UNIQUE (analysis, name)
        ) STRICT, WITHOUT ROWID
    """,
    "points": """
        CREATE TABLE points (
          analysis INTEGER NOT NULL REFERENCES analyses (id),
          series INTEGER NOT NULL,
          position INTEGER NOT NULL,
          name TEXT NOT NULL,
          x REAL NOT NULL,
          y REAL NOT NULL,
          low REAL,
          high REAL,
          PRIMARY KEY (analysis, series, position)
        ) STRICT, WITHOUT ROWID
    """,
    "pictures": """
        CREATE TABLE pictures (
          analysis INTEGER NOT NULL REFERENCES analyses (id),
          position INTEGER NOT NULL,
          name TEXT NOT NULL,
          caption TEXT NOT NULL,
          channels INTEGER NOT NULL,
          height INTEGER NOT NULL,
          width INTEGER NOT NULL,
          pixels BLOB NOT NULL,
          PRIMARY KEY (analysis, position)
        ) STRICT, WITHOUT ROWID
    """,
    # how a study stood; of several of one name and level, the newest counts
    "studies": """
        CREATE TABLE studies (
          id INTEGER PRIMARY KEY,
          key TEXT NOT NULL,
          name TEXT NOT NULL,
          level TEXT NOT NULL,
          at TEXT NOT NULL,
          paper TEXT NOT NULL,
          page TEXT NOT NULL,
          origin TEXT NOT NULL,
          seed INTEGER NOT NULL,
          command TEXT
        ) STRICT
    """,
    "study_analyses": """
        CREATE TABLE study_analyses (
          study INTEGER NOT NULL REFERENCES studies (id),
          position INTEGER NOT NULL,
          label TEXT NOT NULL,
          analysis INTEGER REFERENCES analyses (id),
          reason TEXT,
          PRIMARY KEY (study, position)
        ) STRICT, WITHOUT ROWID
    """,
    "published": """
        CREATE TABLE published (
          study INTEGER NOT NULL REFERENCES studies (id),
          place TEXT NOT NULL,
          position INTEGER NOT NULL,
          columns TEXT NOT NULL,
          value REAL,
          words TEXT,
          decimals INTEGER NOT NULL,
          unit TEXT NOT NULL,
          label TEXT,
          finding TEXT,
          absent TEXT,
          PRIMARY KEY (study, place, position)
        ) STRICT, WITHOUT ROWID
    """,
    "claims": """
        CREATE TABLE claims (
          study INTEGER NOT NULL REFERENCES studies (id),
          position INTEGER NOT NULL,
          id TEXT NOT NULL,
          claim TEXT NOT NULL,
          evidence TEXT NOT NULL,
          test TEXT NOT NULL,
          agrees TEXT NOT NULL,
          verdict TEXT NOT NULL CHECK (verdict IN ('holds', 'fails', 'undecided')),
          words TEXT NOT NULL,
          strongest TEXT CHECK (strongest IN ('holds', 'fails', 'undecided')),
          strongest_words TEXT NOT NULL,
          PRIMARY KEY (study, position)
        ) STRICT, WITHOUT ROWID
    """,
}
"""By name, in the order in which they are made; rows are never changed."""
