"""The store: facts go in, one transaction at a time; facts and rates come out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar

from advbench.errors import AdvbenchError, MalformedError, PluginError
from advbench.store import views
from advbench.store.artifacts import Artifacts, ArtifactsInMemory
from advbench.store.connection import (
    connect,
    connect_memory,
    connect_readonly,
    in_words,
    located,
    snapshot,
    transaction,
    unreadable,
)
from advbench.store.faults import READING_FAILED, fault, set_aside
from advbench.store.lines import NOWHERE, lined_up
from advbench.store.reading import reader
from advbench.store.records import parsed
from advbench.store.rows import (
    ArtifactRow,
    BoardRow,
    CellRow,
    CertificateRow,
    CleanRow,
    DatasetRow,
    EventRow,
    ExhibitRow,
    ImportRow,
    LabelledOutcome,
    OutcomeRow,
    Record,
    ShardRow,
    TargetRow,
    by_column,
    listed,
    shard_size,
)

if TYPE_CHECKING:
    import sqlite3
    from contextlib import AbstractContextManager
    from types import TracebackType

T = TypeVar("T")

Row = Mapping[str, Any]
"""Column names to plain values; JSON columns hold what `json` can write."""
Written = Record | Row
"""What goes in: a record, or some columns of a row, whose others are NULL or have the table's default."""


_CELL = "(SELECT id FROM cells WHERE key = ?)"
_TARGET = "(SELECT id FROM targets WHERE key = ?)"


class Store:
    """A database of facts. Nothing that was once written is changed; what is written twice is kept once."""

    def __init__(self, connection: sqlite3.Connection, path: Path | None, artifacts: Artifacts) -> None:
        self.connection = connection
        self.path = path
        self.artifacts = artifacts
        self._columns: dict[str, tuple[str, ...]] = {}

    @classmethod
    def open(cls, path: str | Path, *, readonly: bool = False) -> Store:
        """The database at the path; made or migrated where needed, unless it is only to be read."""
        path = located(path)
        connection = connect_readonly(path) if readonly else connect(path)
        return cls(connection, path, Artifacts(path.with_suffix(".artifacts")))

    @classmethod
    def memory(cls) -> Store:
        """A database that is gone when it is closed, perturbations included."""
        return cls(connect_memory(), None, ArtifactsInMemory())

    def close(self) -> None:
        self.connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if isinstance(error, READING_FAILED) and self.path is not None:
                self._blame(error)
        finally:
            self.close()

    def _blame(self, error: BaseException) -> None:
        """Say which row can't be read where one is to blame; what is our own mistake stays what it is."""
        with in_words(self.path):
            problem = fault(self.connection)
        if problem:
            raise MalformedError(unreadable(self.path, problem)) from error

    def transaction(self) -> AbstractContextManager[None]:
        """Everything written in the block, or nothing of it; every method that writes opens its own or joins yours."""
        return transaction(self.connection, self.path)

    def snapshot(self) -> AbstractContextManager[None]:
        """The block's reads see one moment, even while another process writes."""
        return snapshot(self.connection, self.path)

    @contextmanager
    def tallied(self, *, whole: bool = True) -> Iterator[list[str]]:
        """A snapshot in which the outcomes are counted once, at its start; for reading many rates.

        With `whole=False`, rows that can't be read are left out; yields which.
        """
        with self.snapshot():
            left_out = [] if whole else set_aside(self.connection)
            views.tally(self.connection)
            yield left_out

    # --- runs and what took part

    def begin_run(self, row: Written) -> str:
        """Write a run down, begun at this moment unless `started` is given, and return its id."""
        values = by_column(row)
        self.insert("runs", [{"started": now(), **values}])
        return str(values["id"])

    def end_run(self, run: str, how: str) -> None:
        self.insert("run_ends", [{"run": run, "at": now(), "how": how}])

    def add_plugins(self, run: str, rows: Iterable[Written]) -> None:
        self.insert("plugins", ({**by_column(row), "run": run} for row in rows))

    def add_skips(self, run: str, rows: Iterable[Written]) -> None:
        self.insert("skips", ({**by_column(row), "run": run} for row in rows))

    # --- data, targets, boards

    def add_dataset(self, row: Written) -> None:
        self.insert("datasets", [{"publishable": 1, **by_column(row)}])

    def datasets(self) -> dict[str, DatasetRow]:
        """Data sets by the fingerprint of the judged images."""
        rows = self.read(DatasetRow, f"SELECT {listed(DatasetRow)} FROM datasets ORDER BY label, fingerprint")
        return {row.fingerprint: row for row in rows}

    def add_examples(self, fingerprint: str, ids: Iterable[int]) -> None:
        """The ids of the judged examples, in order."""
        rows = ({"fingerprint": fingerprint, "position": i, "example": example} for i, example in enumerate(ids))
        self.insert("example_sets", rows)

    def examples(self, fingerprint: str) -> list[int]:
        rows = self._all("SELECT example FROM example_sets WHERE fingerprint = ? ORDER BY position", fingerprint)
        return [row[0] for row in rows]

    def add_draw(self, fingerprint: str, seed: int) -> None:
        """By which seed a set of examples was drawn; where another one drew the same, that stays."""
        self.insert("example_draws", [{"fingerprint": fingerprint, "seed": seed}])

    def draws(self) -> dict[str, int]:
        """The seeds of sets that were drawn at random, by fingerprint; any other set is the first of its data."""
        return {row[0]: row[1] for row in self._all("SELECT fingerprint, seed FROM example_draws")}

    def add_target(self, row: Written) -> int:
        values = by_column(row)
        self.insert("targets", [{"randomised": 0, "draws": 1, **values}])
        return self.id_of("targets", values["key"])

    def add_clean(self, target: str, rows: Iterable[Written]) -> None:
        """What the target answers to unperturbed examples; `target` is its key, here and below."""
        number = self.id_of("targets", target)
        self.insert("clean", ({**by_column(row), "target": number} for row in rows))

    def add_certificates(self, target: str, rows: Iterable[Written]) -> None:
        number = self.id_of("targets", target)
        self.insert("certificates", ({**by_column(row), "target": number} for row in rows))

    def certificates(self, target: str) -> list[CertificateRow]:
        """What is proved, by example id and family of balls."""
        sql = f"SELECT {listed(CertificateRow)} FROM certificates WHERE target = {_TARGET} ORDER BY example, family"
        return self.read(CertificateRow, sql, target)

    def clean(self, target: str) -> dict[int, CleanRow]:
        """The clean answers by example id."""
        sql = f"SELECT {listed(CleanRow)} FROM clean WHERE target = {_TARGET} ORDER BY example"
        return {row.example: row for row in self.read(CleanRow, sql, target)}

    def add_board(self, row: Written) -> None:
        self.insert("boards", [row])

    def add_note(self, target: str, kind: str, reason: str, run: str | None = None) -> None:
        """A flag on a target; the first of a kind stays."""
        self.insert("notes", [{"target": self.id_of("targets", target), "kind": kind, "reason": reason, "run": run}])

    # --- cells

    def add_cell(self, row: Written) -> int:
        values = by_column(row)
        self.insert("cells", [{"minimizes": 0, **values}])
        return self.id_of("cells", values["key"])

    def add_event(
        self, cell: str, run: str | None, status: str, reason: str | None = None, seconds: float | None = None
    ) -> None:
        """How an attempt at the cell ended: `done` or `failed`; the latest event is the cell's status."""
        row = {"cell": self.id_of("cells", cell), "run": run, "at": now(), "status": status}
        self.insert("cell_events", [{**row, "reason": reason, "seconds": seconds}])

    def cell_status(self, cell: str) -> str | None:
        """`done`, `failed`, or None for a cell that is unknown or has not ended yet."""
        rows = self._all(f"SELECT status FROM cell_events WHERE cell = {_CELL} ORDER BY id DESC LIMIT 1", cell)
        return rows[0][0] if rows else None

    def add_shard(
        self,
        cell: str,
        shard: Written,
        outcomes: Mapping[str, Iterable[Written]],
        artifact: ArtifactRow | None = None,
        exhibits: Iterable[Written] = (),
    ) -> bool:
        """A crafted shard with its outcomes by target key, in one transaction.

        False, and nothing is written, when another process has stored the shard with other perturbations: judge those.
        """
        number = self.id_of("cells", cell)
        values = by_column(shard)
        kept = artifact.sha256 if artifact else values.get("artifact")
        with self.transaction():
            stored = self._all("SELECT artifact FROM shards WHERE cell = ? AND shard = ?", number, values["shard"])
            if stored and stored[0][0] != kept:
                return False
            self._refuse_other_layout(cell, shard_size(values["shard"], values["first"], values["count"]))
            if artifact:
                self.insert("artifacts", [artifact])
            self.insert("shards", [{**values, "cell": number, "artifact": kept}])
            for target, rows in outcomes.items():
                self.add_judgement(cell, values["shard"], target, rows)
            self.insert("exhibits", ({**by_column(row), "cell": number} for row in exhibits))
        return True

    def _refuse_other_layout(self, cell: str, size: int) -> None:
        """Shards of one cell are of one size, or examples would be lost between them."""
        for row in self.shards(cell).values():
            if row.size != size:
                raise PluginError(
                    f"another run is storing this cell in shards of {row.size} examples; "
                    "run the same command again, and it goes on with those"
                )

    def add_judgement(self, cell: str, shard: int, target: str, outcomes: Iterable[Written]) -> bool:
        """The outcomes of a stored shard on one more target; False when they were there already."""
        place = {"cell": self.id_of("cells", cell), "target": self.id_of("targets", target)}
        with self.transaction():
            if not self.insert("judgements", [{**place, "shard": shard}]):
                return False
            self.insert("outcomes", outcomes, place)
        return True

    def shards(self, cell: str) -> dict[int, ShardRow]:
        """A cell's shards by number, in order."""
        rows = self.read(ShardRow, f"SELECT {listed(ShardRow)} FROM shards WHERE cell = {_CELL} ORDER BY shard", cell)
        return {row.shard: row for row in rows}

    def judged(self, cell: str) -> set[tuple[str, int]]:
        """(target key, shard) wherever outcomes are stored."""
        sql = f"SELECT t.key, j.shard FROM judgements j JOIN targets t ON t.id = j.target WHERE j.cell = {_CELL}"
        return {(row[0], row[1]) for row in self._all(sql, cell)}

    def judges(self, cell: str) -> list[str]:
        """Keys of the targets on which outcomes are stored, in the order in which they came."""
        sql = f"SELECT key FROM targets WHERE id IN (SELECT target FROM judgements WHERE cell = {_CELL}) ORDER BY id"
        return [row[0] for row in self._all(sql, cell)]

    def outcomes(self, cell: str, target: str) -> list[LabelledOutcome]:
        """The referee's facts, by example id, with the true label beside them."""
        sql = f"""
            SELECT {listed(OutcomeRow, "o")}, c.label FROM outcomes o
            LEFT JOIN clean c ON c.target = o.target AND c.example = o.example
            WHERE o.cell = {_CELL} AND o.target = {_TARGET} ORDER BY o.example
        """
        return self.read(LabelledOutcome, sql, cell, target)

    def exhibits(self, cell: str) -> list[ExhibitRow]:
        """The cell's first examples as pictures, by example id; see `advbench.run.exhibits`."""
        sql = f"SELECT {listed(ExhibitRow)} FROM exhibits WHERE cell = {_CELL} ORDER BY example"
        return self.read(ExhibitRow, sql, cell)

    def events(self, cell: str) -> list[EventRow]:
        """How attempts at the cell ended, the last one last."""
        return self.read(EventRow, f"SELECT {listed(EventRow)} FROM cell_events WHERE cell = {_CELL} ORDER BY id", cell)

    def imports(self, cell: str) -> list[ImportRow]:
        """How the cell came here by merging, the last time last."""
        return self.read(ImportRow, f"SELECT {listed(ImportRow)} FROM imports WHERE cell = {_CELL} ORDER BY id", cell)

    # --- reading back

    def rows(self, sql: str, *values: Any) -> list[dict[str, Any]]:
        """Any question in SQL; JSON columns come back as what was put in."""
        with self._ask(sql, values) as (names, cursor):
            places = {name: names.index(name) for name in names}  # of two columns of one name, the first
            return [decoded({name: row[place] for name, place in places.items()}) for row in cursor]

    def read(self, kind: type[T], sql: str, *values: Any) -> list[T]:
        """Any question in SQL, each row of its answer as a record: a dataclass with a field for every column."""
        with self._ask(sql, values) as (names, cursor):
            return list(map(reader(kind, names), cursor))

    @contextmanager
    def _ask(self, sql: str, values: Sequence[Any]) -> Iterator[tuple[list[str], sqlite3.Cursor]]:
        """The columns of the answer, and its rows, while the block lasts."""
        with in_words(self.path):
            self.connection.execute("SAVEPOINT question")
            written, whole = self.connection.total_changes, False
            try:
                cursor = self.connection.execute(sql, values)
                if cursor.description is None:
                    raise ValueError(f"a question that has no answer: {sql}")
                yield [column[0] for column in cursor.description], cursor
                whole = self.connection.total_changes == written
            finally:  # whatever it may have written
                if self.connection.in_transaction:
                    if not whole:  # SQLite reads its schema again after this, as slow as many a question
                        self.connection.execute("ROLLBACK TO question")
                    self.connection.execute("RELEASE question")

    def boards(self) -> list[BoardRow]:
        return self.read(BoardRow, f"SELECT {listed(BoardRow)} FROM boards ORDER BY dataset, name, protocol, key")

    def targets(self) -> list[TargetRow]:
        return self.read(TargetRow, f"SELECT {listed(TargetRow)} FROM targets ORDER BY label, key")

    def cells(self) -> list[CellRow]:
        return self.read(CellRow, f"SELECT {listed(CellRow)} FROM cells ORDER BY id")

    def rates(self, view: str, board: str | None = None) -> list[dict[str, Any]]:
        """The rows of a view of rates (see `views`), of one board or of all."""
        if view not in views.VIEWS:
            raise AdvbenchError(f"no rate is called {view!r}; there are {', '.join(views.VIEWS)}")
        rows = self.rows(f"SELECT * FROM {view}")
        return [row for row in rows if board is None or row.get("board") == board]

    def robust_examples(self, board: str) -> dict[str, dict[int, bool]]:
        """By target key, whether each example of the board is right, clean and under all of the required set."""
        right: dict[str, dict[int, bool]] = {}
        for row in self._all("SELECT target, example, right FROM robust_examples WHERE board = ?", board):
            right.setdefault(row[0], {})[row[1]] = bool(row[2])
        return right

    def cell(self, prefix: str) -> CellRow:
        """The cell whose key begins so."""
        sql = f"SELECT {listed(CellRow)} FROM cells WHERE substr(key, 1, ?) = ? ORDER BY key"
        cells = self.read(CellRow, sql, len(prefix), prefix)
        if len(cells) != 1 or not prefix:
            problem = "no cell's key begins" if not cells else f"{len(cells)} cells' keys begin"
            raise AdvbenchError(f"{problem} with {prefix!r}; `advbench show` lists them")
        return cells[0]

    # --- the doors to SQLite

    def insert(self, table: str, rows: Iterable[Written], place: Row = NOWHERE) -> int:
        """How many rows were new. Only a known key is passed over; a missing or wrong value is still an error.

        `place` are columns that all of them share.
        """
        columns = self._columns.get(table) or self._look_up_columns(table)
        marks = ", ".join("?" * len(columns))
        sql = f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks}) ON CONFLICT DO NOTHING"
        with self.transaction():
            return self.connection.executemany(sql, lined_up(table, columns, rows, place)).rowcount

    def _all(self, sql: str, *values: Any) -> Sequence[sqlite3.Row]:
        with in_words(self.path):
            return self.connection.execute(sql, values).fetchall()

    def id_of(self, table: str, key: str) -> int:
        rows = self._all(f"SELECT id FROM {table} WHERE key = ?", key)
        if not rows:
            raise LookupError(f"{table}: no key {key!r}")
        return int(rows[0][0])

    def _look_up_columns(self, table: str) -> tuple[str, ...]:
        self._columns[table] = tuple(row["name"] for row in self._all(f"PRAGMA table_info({table})"))
        return self._columns[table]


def decoded(row: Row) -> dict[str, Any]:
    return {key: parsed(key, value) for key, value in row.items()}


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
