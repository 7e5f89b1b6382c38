"""The rates of a database as tables for a terminal, readable at 100 columns."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from advbench.errors import printable
from advbench.protocol import suffix
from advbench.rates import earlier, evidence
from advbench.rates.aim import aim_of
from advbench.rates.drawn import drawn_by
from advbench.rates.earlier import Earlier
from advbench.rates.evidence import Evidence
from advbench.rates.notes import Note, notes
from advbench.rates.shipper import shipper_of
from advbench.store import Store
from advbench.store.rows import BoardRow, listed
from advbench.terminal.text import interval, percent, say, tell

_WHOLE = 30
"""Names up to this length stay on one line."""


def new_table(*, header: bool = True) -> Table:
    """An empty table without lines between its columns: of the 100 columns of a terminal each counts."""
    return Table(box=box.SIMPLE_HEAD, show_header=header, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))


def show_table(console: Console, table: Table, title: str = "", remarks: Iterable[str] = ()) -> None:
    """Print a table with a title above and remarks below, which stay whole where a narrow table folds."""
    if title:
        say(console, title, "bold")
    if console.measure(table).minimum > console.width:
        for column in table.columns:
            column.no_wrap = False  # better a broken name than half a name
    console.print(table)
    for remark in remarks:
        say(console, remark)


def names(into: Table, heading: str, values: Iterable[str]) -> None:
    """A column of names, broken only where they are long."""
    longest = max((len(printable(value)) for value in values), default=0)
    into.add_column(heading, overflow="fold", no_wrap=longest <= _WHOLE)


def numbers(into: Table, heading: str, style: str = "") -> None:
    into.add_column(Text(printable(heading, newlines=True)), justify="right", overflow="fold", style=style)


@dataclass(frozen=True)
class _Worst:
    """A target's accuracy in the pointwise worst case; where it has none, `unranked` says why."""

    board: str
    target: str
    target_label: str
    accuracy: float | None
    accuracy_low: float | None
    accuracy_high: float | None
    unranked: str | None


@dataclass(frozen=True)
class _Attacked:
    board: str
    target: str
    entrant: str
    accuracy: float | None


@dataclass(frozen=True)
class _Clean:
    board: str
    target: str
    accuracy: float | None


@dataclass(frozen=True)
class _Undetected:
    board: str
    target: str
    own: bool
    rate: float
    false_positives: float | None


@dataclass(frozen=True)
class _Certified:
    board: str
    target: str
    target_label: str
    accuracy: float | None
    accuracy_low: float | None
    accuracy_high: float | None


class _Rated(Protocol):
    @property
    def board(self) -> str: ...

    @property
    def target(self) -> str: ...


R = TypeVar("R", bound=_Rated)


@dataclass(frozen=True)
class _Rates:
    """What the views say of some targets."""

    worst: Sequence[_Worst]
    attacked: Sequence[_Attacked]
    clean: Sequence[_Clean]
    undetected: Sequence[_Undetected]
    certified: Sequence[_Certified]

    @classmethod
    def of(cls, store: Store, targets: Collection[str] | None) -> _Rates:
        def read(kind: type[R], view: str) -> list[R]:
            rows = store.read(kind, f"SELECT {listed(kind)} FROM {view}")
            return [row for row in rows if targets is None or row.target in targets]

        return cls(
            read(_Worst, "robust_accuracy"),
            read(_Attacked, "attack_accuracy"),
            read(_Clean, "clean_accuracy"),
            read(_Undetected, "undetected"),
            read(_Certified, "certified"),
        )

    def on(self, board: str) -> _Rates:
        def here(rows: Sequence[R]) -> list[R]:
            return [row for row in rows if row.board == board]

        return _Rates(
            here(self.worst), here(self.attacked), here(self.clean), here(self.undetected), here(self.certified)
        )


def print_boards(
    console: Console,
    store: Store,
    wanted: Iterable[str] | None = None,
    *,
    keys: Iterable[str] | None = None,
    targets: Iterable[str] | None = None,
) -> int:
    """One table a board, of some boards by name or key, of some targets by key; how many there are."""
    some, chosen, shown = (None if those is None else set(those) for those in (wanted, keys, targets))
    with store.tallied():
        rates = _Rates.of(store, shown)
        boards = [b for b in store.boards() if some is None or b.name in some]
        draws = store.draws()
        classes = {fingerprint: row.classes for fingerprint, row in store.datasets().items()}
        apart = [e for e in evidence.gather(store) if shown is None or e.target in shown]
        doubts = notes(store, apart)
        superseded = earlier.earlier_targets(store)
    boards = [board for board in boards if chosen is None or board.key in chosen]
    for place, board in enumerate(boards):
        if place:
            console.print()
        own = rates.on(board.key)
        named = classes.get(board.data_fingerprint, ())
        for part, title, remarks in _board_tables(board, own, named, draws.get(board.examples), console.width):
            show_table(console, part, title, remarks)
        if shipper := shipper_of(board.ball):
            say(console, f"The ball is shipped by {shipper}, whose word is taken for how large a perturbation is.")
        for line in doubted(doubts, board.key, {row.target: row.target_label for row in own.worst}):
            tell(console, line)
        for remark in _apart(own.worst, [one for one in apart if one.board == board.key]):
            say(console, remark)
        if words := _earlier([one for one in superseded if one.board == board.key]):
            say(console, words)
    return len(boards)


def _board_tables(
    board: BoardRow, rates: _Rates, classes: Sequence[str], drawn: int | None, width: int
) -> Iterator[tuple[Table, str, list[str]]]:
    """Targets by pointwise worst-case accuracy, every attack beside it; attacks that don't fit come below."""
    rows = sorted(rates.worst, key=_rank)
    entrants = sorted({row.entrant for row in rates.attacked})
    headings = {entrant: printable(entrant).replace("(", "\n(").replace(" → ", "\n→ ") for entrant in entrants}
    clean = {row.target: percent(row.accuracy) for row in rates.clean}
    attacked = {(row.target, row.entrant): percent(row.accuracy) for row in rates.attacked}
    labels = [printable(row.target_label) for row in rows]
    room = width - max(map(len, labels), default=0) - 2
    parts = list(
        _fitting(
            headings,
            room - len("clean") - 2 - max([len("worst case"), *(len(_worst_case(row)) for row in rows)]) - 2,
            room,
        )
    )
    for place, part in enumerate(parts):
        continued = ", continued" if place else " · percent right, 95 % interval"
        aim = f", aimed at {aimed}" if (aimed := aim_of(board.required, classes)) else ""
        title = f"{board.name}{aim}{suffix(board.protocol)} · {board.count} examples{drawn_by(drawn)}{continued}"
        table = new_table()
        names(table, "target", labels)
        for heading in ("clean",) if not place else ():
            numbers(table, heading)
        for entrant in part:
            numbers(table, headings[entrant])
        for heading in ("worst case",) if not place else ():
            numbers(table, heading, "bold")
        for row, label in zip(rows, labels, strict=True):
            under = [attacked.get((row.target, entrant), "–") for entrant in part]
            whole = [] if place else [clean[row.target], _worst_case(row)]
            table.add_row(Text(label), *whole[:1], *under, *whole[1:])
        last = place == len(parts) - 1
        remarks = [*_remarks(rows, rates.undetected), *_proofs(rates.certified)] if last else []
        if aim and last:
            remarks.insert(
                0, "Images of a class itself are never sent there: the worst case counts them, no attack does."
            )
        yield table, title, remarks


def _fitting(headings: Mapping[str, str], first: int, room: int) -> Iterator[list[str]]:
    """Columns dealt out to tables: what fits into the first, then what fits into each one below."""
    part: list[str] = []
    left = first
    for name, heading in headings.items():
        width = max(5, *map(len, heading.split("\n"))) + 2
        if width > left and part:
            yield part
            part, left = [], room
        part.append(name)
        left -= width
    yield part


def _worst_case(row: _Worst) -> str:
    if row.accuracy is None:
        return "unranked"
    return f"{percent(row.accuracy)} {interval(row.accuracy_low, row.accuracy_high)}"


def _remarks(rows: Iterable[_Worst], undetected: Iterable[_Undetected]) -> Iterator[str]:
    """What belongs to a number but fits into no column."""
    for row in rows:
        if row.accuracy is None:
            yield f"{row.target_label} is unranked: {row.unranked}"
        own = [u for u in undetected if u.target == row.target and u.own]
        if own:
            worst, alarms = percent(max(u.rate for u in own)), percent(own[0].false_positives)
            yield f"{row.target_label} detects: {worst} fooled and undetected at worst, {alarms} false alarms"


def _proofs(certified: Iterable[_Certified]) -> Iterator[str]:
    """The bounds from below, beside which the attacks' are bounds from above."""
    for row in certified:
        share = f"{percent(row.accuracy)} {interval(row.accuracy_low, row.accuracy_high)}"
        yield f"{row.target_label} is proved right in the whole ball: {share}"


def _apart(rows: Iterable[_Worst], apart: Sequence[Evidence]) -> Iterator[str]:
    """The strongest that does not count here, with the beginning of its cell's key; what contradicts is a note."""
    for row in rows:
        own = [one for one in apart if one.target == row.target]
        if own and not any(one.contradicts for one in own):
            first = own[0]
            yield (
                f"{row.target_label}, elsewhere: {first.entrant} leaves {first.right} of {first.n} right, on "
                f"{first.where} (cell {first.cell[:12]})"
            )


def _earlier(superseded: Iterable[Earlier]) -> str:
    """Which targets of a network that the table has are not in it; empty where there are none."""
    alike: dict[str, list[str]] = {}
    for one in superseded:
        alike.setdefault(one.differs, []).append(one.label)
    named = "; ".join(f"{', '.join(labels)} ({differs})" for differs, labels in alike.items())
    return f"earlier, not in the table since the same network is: {named}" if named else ""


def doubted(all_notes: Iterable[Note], board: str, labels: Mapping[str, str]) -> Iterator[str]:
    """A line for every note on the board's targets, which are named by key; targets of one doubt share a line."""
    sharing: dict[tuple[str, str, str], list[str]] = {}
    for note in all_notes:
        if note.board == board and note.target in labels:
            sharing.setdefault((note.kind, note.cell, note.reason), []).append(labels[note.target])
    for (kind, cell, reason), targets in sharing.items():
        who = "all targets" if len(targets) == len(labels) > 1 else ", ".join(sorted(targets))
        yield f"{kind}: {who}{f' (cell {cell[:12]})' if cell else ''}: {reason}"


def _rank(row: _Worst) -> tuple[bool, float, str]:
    accuracy = row.accuracy
    return accuracy is None, -(accuracy or 0.0), row.target_label
