"""`advbench compare`: two targets or two databases, paired on the same examples."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from advbench.cli import options as opt
from advbench.errors import AdvbenchError, printable
from advbench.rates.comparison import Comparison
from advbench.rates.comparison import compare as compare_targets
from advbench.rates.notes import Note, notes
from advbench.store import Store
from advbench.store.rows import BoardRow, listed
from advbench.terminal.tables import names, new_table, numbers, show_table
from advbench.terminal.text import interval, percent, say, tell, terminal

if TYPE_CHECKING:
    from advbench.cli.app import App

_SUFFIXES = {".sqlite", ".sqlite3", ".db"}
_WIDE = 120
"""Columns from which on A and B have intervals of their own, beside that of their difference."""


class Place(NamedTuple):
    """A place where two worst cases compare: the same images, ball and required attacks under the same rules."""

    board: str
    required: tuple[str, ...]
    data: str
    protocol: int


@dataclass(frozen=True)
class _Named:
    key: str
    label: str


@dataclass(frozen=True)
class _Unranked:
    board: str
    target: str
    unranked: str | None


@dataclass(frozen=True)
class _Standing:
    board: str
    target: str
    standing: str


@dataclass
class Judged:
    """What a database knows by place and target's label: which examples are right in the worst case, or why none is."""

    right: dict[tuple[Place, str], dict[int, bool]] = field(default_factory=dict)
    unranked: dict[tuple[Place, str], str] = field(default_factory=dict)
    doubts: dict[tuple[Place, str], list[Note]] = field(default_factory=dict)

    def knows(self, place: Place, label: str) -> bool:
        return (place, label) in self.right or (place, label) in self.unranked


@dataclass
class Findings:
    """What compares; in words, a board's name before them, what does not and which notes are on what does."""

    comparisons: list[Comparison] = field(default_factory=list)
    lacking: list[str] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)

    def on(self, boards: list[str]) -> Findings:
        """The part that concerns these boards."""
        lacking, doubts = (
            [line for line in lines if line.partition(": ")[0] in boards] for lines in (self.lacking, self.doubts)
        )
        return Findings([c for c in self.comparisons if c.board in boards], lacking, doubts)


def compare(
    context: typer.Context,
    a: Annotated[str, typer.Argument(metavar="A", help="A target's label, or a database.")],
    b: Annotated[str, typer.Argument(metavar="B", help="Another target's label, or another database.")],
    db: opt.Database = opt.DATABASE,
    board: opt.Boards = None,
    fail_under: Annotated[
        float | None,
        typer.Option(
            metavar="SHARE", help="Exit with 1 when B's robust accuracy on a board is below this share, 0 to 1."
        ),
    ] = None,
    fail_if_worse: Annotated[
        bool, typer.Option("--fail-if-worse", help="Exit with 1 when B is significantly worse on a board.")
    ] = False,
) -> None:
    """Hold B against A on every board that both were judged on, example by example."""
    if fail_under is not None and not 0 <= fail_under <= 1:
        raise AdvbenchError(f"--fail-under {fail_under:g}: give a share between 0 and 1")
    databases = [name for name in (a, b) if _is_database(name)]
    if len(databases) == 1:
        raise AdvbenchError(f"{databases[0]} is a database and the other is not: name two databases or two targets")
    findings = _databases(Path(a), Path(b)) if databases else _targets(a, b, db, context.obj)
    if not findings.comparisons:
        why = f": {findings.lacking[0]}" if findings.lacking else ""
        raise AdvbenchError(f"{a} and {b} have no board with the same images and required attacks in common{why}")
    there = {c.board for c in findings.comparisons} | {line.partition(": ")[0] for line in findings.lacking}
    if missing := set(board or ()) - there:
        raise AdvbenchError(
            f"{a} and {b} have no board {min(missing)!r} in common; there are: {', '.join(sorted(there))}"
        )
    findings = findings.on(board) if board else findings
    console = terminal()
    _print(console, findings.comparisons, a, b)
    for doubt in findings.doubts:
        tell(console, doubt)
    failures = list(findings.lacking) if fail_under is not None or fail_if_worse else []
    for line in () if failures else findings.lacking:
        say(console, line)
    for c in findings.comparisons:
        where = f"{c.board}, {c.b}" if c.a == c.b else c.board
        if fail_under is not None and c.right_b / c.n < fail_under:
            failures.append(f"{where}: robust accuracy {percent(c.right_b / c.n)} % is under {percent(fail_under)} %")
        if fail_if_worse and c.verdict == "B is worse":
            failures.append(f"{where}: B is significantly worse (p = {c.p_value:.2g})")
    for failure in failures:
        say(console, failure, "red")
    if failures:
        raise typer.Exit(1)


def _is_database(text: str) -> bool:
    return Path(text).suffix in _SUFFIXES or Path(text).is_file()


def _databases(a: Path, b: Path) -> Findings:
    with Store.open(a, readonly=True) as first, Store.open(b, readonly=True) as second:
        judged_a, judged_b = _read_judged(first), _read_judged(second)
    labels = {label for judged in (judged_a, judged_b) for _, label in (*judged.right, *judged.unranked)}
    pairs = [_pair(judged_a, judged_b, label, label) for label in sorted(labels)]
    return Findings(*([one for pair in pairs for one in getattr(pair, f.name)] for f in fields(Findings)))


def _targets(a: str, b: str, db: Path, app: App) -> Findings:
    """Targets by their labels; plugins are asked only where a label is written otherwise than it is stored."""
    with Store.open(db, readonly=True) as store:
        judged = _read_judged(store)
        known = {row.label for row in store.targets()}
    if not {a, b} <= known:
        from advbench.run.stored import target_named

        a, b = (text if text in known else target_named(app.registry, text) for text in (a, b))
    for label in (a, b):
        if label not in known:
            raise AdvbenchError(f"no target {label!r} in {db}; there are: {', '.join(sorted(known)) or 'none'}")
    return _pair(judged, judged, a, b)


def _pair(first: Judged, second: Judged, a: str, b: str) -> Findings:
    """The findings on two targets: where both have a worst case, and in words where one of them has none."""
    findings = Findings()
    both = {place for place, label in first.unranked if label == a and second.knows(place, b)}
    for place in sorted(both | {place for place, label in first.right if label == a}):
        sides = ((first, a, "A"), (second, b, "B"))
        without = {
            label: judged.unranked.get((place, label), "not judged there on the same images and attacks")
            for judged, label, _ in sides
            if (place, label) not in judged.right
        }
        findings.lacking += [f"{place.board}: {label} has no robust accuracy: {why}" for label, why in without.items()]
        if without:
            continue
        compared = compare_targets(place.board, a, b, first.right[place, a], second.right[place, b])
        findings.comparisons += [compared] if compared else []
        sharing: dict[str, list[str]] = {}
        for judged, label, side in sides:
            for note in judged.doubts.get((place, label), ()):
                sharing.setdefault(f"{note.kind}: {note.reason}", []).append(label if a != b else f"{label} in {side}")
        findings.doubts += [f"{place.board}: {' and '.join(who)}: {doubt}" for doubt, who in sharing.items()]
    return findings


def _read_judged(store: Store) -> Judged:
    """What a database knows of one target by label and one board by place: the target that was attacked last, the board
    of most examples.

    A target that a merge has brought takes the place of none that was attacked here: it may be another network.
    """
    newest = {
        row.label: row.key
        for row in store.read(
            _Named,
            """
            SELECT t.key, t.label FROM targets t
            LEFT JOIN cells c ON c.source = t.key LEFT JOIN cell_events e ON e.cell = c.id
            LEFT JOIN (SELECT DISTINCT cell FROM imports) i ON i.cell = c.id
            GROUP BY t.id ORDER BY max(i.cell IS NULL AND e.id IS NOT NULL), max(coalesce(e.id, 0)), t.id
            """,
        )
    }
    judged = Judged()
    with store.tallied():
        doubts: dict[tuple[str, str], list[Note]] = defaultdict(list)
        for note in notes(store):
            doubts[note.board, note.target].append(note)
        unranked = {
            (row.board, row.target): row.unranked
            for row in store.read(_Unranked, "SELECT board, target, unranked FROM robust_accuracy")
        }
        standing = {
            (row.board, row.target): row.standing
            for row in store.read(_Standing, "SELECT board, target, standing FROM board_targets")
        }
        for board in store.read(BoardRow, f"SELECT {listed(BoardRow)} FROM boards ORDER BY rowid"):
            place = Place(board.name, tuple(sorted(board.required)), board.data_fingerprint, board.protocol)
            right = store.robust_examples(board.key)
            for label, last in newest.items():
                key = standing.get((board.key, last), last)  # of its lineage, the one that this board lists
                known = judged.right.get((place, label), {})
                if key in right and len(right[key]) >= len(known):
                    judged.right[place, label] = right[key]
                elif reason := unranked.get((board.key, key)):
                    judged.unranked[place, label] = reason
                if not known or judged.right[place, label] is not known:
                    judged.doubts[place, label] = doubts[board.key, key]
    return judged


def _print(console: Console, comparisons: list[Comparison], a: str, b: str) -> None:
    """A row a board; of two databases, a table a board and a row a target."""
    say(console, f"A is {a}, B is {b}. Robust accuracy in percent, 95 % intervals.")
    if all(c.a == a for c in comparisons):
        show_table(console, _table("board", [(c.board, c) for c in comparisons], console.width))
        return
    for board in dict.fromkeys(c.board for c in comparisons):
        console.print()
        rows = [(c.a, c) for c in comparisons if c.board == board]
        show_table(console, _table("target", rows, console.width), board)


def _table(heading: str, rows: list[tuple[str, Comparison]], width: int) -> Table:
    table = new_table()
    names(table, heading, (name for name, _ in rows))
    for each in ("examples", "A", "B", "B − A", "p"):
        numbers(table, each)
    table.add_column("verdict", overflow="fold")
    for name, c in rows:
        intervals = [f" {interval(*ends)}" if width >= _WIDE else "" for ends in (c.interval_a, c.interval_b)]
        table.add_row(
            Text(printable(name)),
            str(c.n),
            f"{percent(c.right_a / c.n)}{intervals[0]}",
            f"{percent(c.right_b / c.n)}{intervals[1]}",
            f"{100 * c.difference:+.1f} [{100 * c.low:+.1f}, {100 * c.high:+.1f}]",
            f"{c.p_value:.2g}",
            c.verdict,
        )
    return table
