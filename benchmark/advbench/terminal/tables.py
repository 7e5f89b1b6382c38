"""The rates of a database as tables for a terminal, readable at 100 columns."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from advbench.errors import plain
from advbench.parameters import written_radius
from advbench.protocol import suffix
from advbench.rates import earlier, evidence
from advbench.rates.aim import aim_of
from advbench.rates.earlier import Earlier
from advbench.rates.evidence import Evidence
from advbench.rates.notes import Note, notes
from advbench.rates.shipper import shipper_of
from advbench.store import Store
from advbench.terminal.text import interval, percent, say, tell

_WHOLE = 30
"""Names up to this length stay on one line."""


def table(*, header: bool = True) -> Table:
    """Without lines between columns: where 100 of them have to do, each counts."""
    return Table(box=box.SIMPLE_HEAD, show_header=header, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))


def show_table(console: Console, found: Table, title: str = "", remarks: Iterable[str] = ()) -> None:
    """With a title above and remarks below, which a narrow table does not fold."""
    if title:
        say(console, title, "bold")
    if console.measure(found).minimum > console.width:
        for column in found.columns:
            column.no_wrap = False  # better a broken name than half a name
    console.print(found)
    for remark in remarks:
        say(console, remark)


def names(into: Table, heading: str, values: Iterable[str]) -> None:
    """A column of names, broken only where they are long."""
    longest = max((len(plain(value)) for value in values), default=0)
    into.add_column(heading, overflow="fold", no_wrap=longest <= _WHOLE)


def numbers(into: Table, heading: str, style: str = "") -> None:
    into.add_column(Text(plain(heading, newlines=True)), justify="right", overflow="fold", style=style)


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
    views = ("robust_accuracy", "attack_accuracy", "clean_accuracy", "undetected", "certified")
    with store.tallied():
        rates = {view: [r for r in store.rates(view) if shown is None or r["target"] in shown] for view in views}
        boards = [b for b in store.boards() if some is None or b["name"] in some]
        classes = {d["fingerprint"]: d["classes"] for d in store.rows("SELECT fingerprint, classes FROM datasets")}
        apart = [e for e in evidence.found(store) if shown is None or e.target in shown]
        doubts = notes(store, apart)
        superseded = earlier.found(store)
    boards = [board for board in boards if chosen is None or board["key"] in chosen]
    for place, board in enumerate(boards):
        if place:
            console.print()
        own = {view: [row for row in rows if row["board"] == board["key"]] for view, rows in rates.items()}
        named = classes.get(board["data_fingerprint"], ())
        for part, title, remarks in _board_tables(board, own, named, console.width):
            show_table(console, part, title, remarks)
        if shipper := shipper_of(board):
            say(console, f"The ball is shipped by {shipper}, whose word is taken for how large a perturbation is.")
        for line in doubted(doubts, board["key"], {r["target"]: r["target_label"] for r in own["robust_accuracy"]}):
            tell(console, line)
        for remark in _apart(own["robust_accuracy"], [one for one in apart if one.board == board["key"]]):
            say(console, remark)
        if words := _earlier([one for one in superseded if one.board == board["key"]]):
            say(console, words)
    return len(boards)


def _board_tables(
    board: dict[str, Any], rates: dict[str, list[dict[str, Any]]], classes: Sequence[str], width: int
) -> Iterator[tuple[Table, str, list[str]]]:
    """Targets by pointwise worst-case accuracy, every attack beside it; attacks that don't fit come below."""
    rows = sorted(rates["robust_accuracy"], key=_rank)
    entrants = sorted({row["entrant"] for row in rates["attack_accuracy"]})
    headings = {entrant: plain(entrant).replace("(", "\n(").replace(" → ", "\n→ ") for entrant in entrants}
    clean = {row["target"]: percent(row["accuracy"]) for row in rates["clean_accuracy"]}
    attacked = {(row["target"], row["entrant"]): percent(row["accuracy"]) for row in rates["attack_accuracy"]}
    labels = [plain(row["target_label"]) for row in rows]
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
        aim = f", aimed at {aimed}" if (aimed := aim_of(board["required"], classes)) else ""
        title = f"{board['name']}{aim}{suffix(board['protocol'])} · {board['count']} examples{continued}"
        found = table()
        names(found, "target", labels)
        for heading in ("clean",) if not place else ():
            numbers(found, heading)
        for entrant in part:
            numbers(found, headings[entrant])
        for heading in ("worst case",) if not place else ():
            numbers(found, heading, "bold")
        for row, label in zip(rows, labels, strict=True):
            under = [attacked.get((row["target"], entrant), "–") for entrant in part]
            whole = [] if place else [clean[row["target"]], _worst_case(row)]
            found.add_row(Text(label), *whole[:1], *under, *whole[1:])
        last = place == len(parts) - 1
        remarks = [*_remarks(rows, rates["undetected"]), *_proofs(rates["certified"])] if last else []
        if aim and last:
            remarks.insert(
                0, "Images of a class itself are never sent there: the worst case counts them, no attack does."
            )
        yield found, title, remarks


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


def _worst_case(row: Mapping[str, Any]) -> str:
    if row["accuracy"] is None:
        return "unranked"
    return f"{percent(row['accuracy'])} {interval(row['accuracy_low'], row['accuracy_high'])}"


def _remarks(rows: Iterable[Mapping[str, Any]], undetected: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """What belongs to a number but fits into no column."""
    for row in rows:
        if row["accuracy"] is None:
            yield f"{row['target_label']} is unranked: {row['unranked']}"
        own = [u for u in undetected if u["target"] == row["target"] and u["own"]]
        if own:
            worst, alarms = percent(max(u["rate"] for u in own)), percent(own[0]["false_positives"])
            yield f"{row['target_label']} detects: {worst} fooled and undetected at worst, {alarms} false alarms"


def _proofs(certified: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """The bounds from below, beside which the attacks' are bounds from above."""
    for row in certified:
        share = f"{percent(row['accuracy'])} {interval(row['accuracy_low'], row['accuracy_high'])}"
        yield f"{row['target_label']} is proved right in the whole ball: {share}"


def _apart(rows: Iterable[Mapping[str, Any]], apart: Sequence[Evidence]) -> Iterator[str]:
    """The strongest that does not count here, with the beginning of its cell's key; what contradicts is a note."""
    for row in rows:
        own = [one for one in apart if one.target == row["target"]]
        if own and not any(one.contradicts for one in own):
            first = own[0]
            yield (
                f"{row['target_label']}, elsewhere: {first.entrant} leaves {first.right} of {first.n} right, on "
                f"{first.where} (cell {first.cell[:12]})"
            )


def _earlier(superseded: Iterable[Earlier]) -> str:
    """Which targets of a network that the table has are not in it; empty where there are none."""
    alike: dict[str, list[str]] = {}
    for one in superseded:
        alike.setdefault(one.differs, []).append(one.label)
    named = "; ".join(f"{', '.join(labels)} ({differs})" for differs, labels in alike.items())
    return f"earlier, not in the table since the same network is: {named}" if named else ""


def doubted(found: Iterable[Note], board: str, labels: Mapping[str, str]) -> Iterator[str]:
    """A line for every note on the board's targets, which are named by key; targets of one doubt share a line."""
    sharing: dict[tuple[str, str, str], list[str]] = {}
    for note in found:
        if note.board == board and note.target in labels:
            sharing.setdefault((note.kind, note.cell, note.reason), []).append(labels[note.target])
    for (kind, cell, reason), targets in sharing.items():
        who = "all targets" if len(targets) == len(labels) > 1 else ", ".join(sorted(targets))
        yield f"{kind}: {who}{f' (cell {cell[:12]})' if cell else ''}: {reason}"


def _rank(row: dict[str, Any]) -> tuple[bool, float, str]:
    accuracy = row["accuracy"]
    return accuracy is None, -(accuracy or 0.0), row["target_label"]


def cell_table(cell: dict[str, Any], boards: Iterable[Mapping[str, Any]]) -> Table:
    """The facts and rates of one cell; the boards are those of its database."""
    facts = table(header=False)
    facts.add_column(style="dim", overflow="fold")
    facts.add_column(overflow="fold")
    forwards = sum(shard["forwards"] for shard in cell["shards"])
    backwards = sum(shard["backwards"] for shard in cell["shards"])
    words = {
        "attack": f"{cell['attack']}, {cell['goal']}, stop: {cell['stop']}, seed {cell['seed']}",
        "threat": board_of(cell, boards),
        **({"fitted on": cell["fit"]} if cell["fit"] else {}),
        **({"ball shipped by": shipper} if (shipper := shipper_of(cell)) else {}),
        "status": cell["status"] or "not finished",
        "examples": str(cell["count"]),
        "passes": f"{forwards:,} forward, {backwards:,} backward",
        "seconds": f"{sum(shard['seconds'] for shard in cell['shards']):.2f}",
        "shipped by": f"{cell['origin'].get('distribution')} {cell['origin'].get('version')}",
        "key": cell["key"],
    }
    if cell["events"] and cell["events"][-1]["reason"]:
        words["reason"] = cell["events"][-1]["reason"]
    if cell["imports"]:
        words["came from"] = arrival(cell["imports"])
    for name, value in words.items():
        facts.add_row(name, Text(plain(value)))
    for rate in cell["rates"]:
        own = "own" if rate["own"] else "transfer"
        share = rate["fooled"] / rate["n"] if rate["n"] else None
        where = f", {rate['board_name']}" if cell["minimizes"] else ""  # without a radius, it serves several boards
        text = f"fooled {percent(share)} % of {rate['n']}"
        if rate["violations"]:
            text += f", {rate['violations']} violations"
        facts.add_row(Text(plain(f"{own}: {rate['target_label']}{where}")), text)
    for board, label in cell["superseded"]:
        facts.add_row("not counted", Text(plain(f"{board} lists the same network as another target, {label}")))
    for rate in cell["unplaced"]:
        text = f"fooled {percent(rate['rate'])} % of {rate['n']}, which no board judges"
        facts.add_row(Text(plain(f"own: {rate['source_label']}")), text)
    return facts


def arrival(imports: Sequence[Mapping[str, Any]]) -> str:
    """How a cell came here by merging, and what it was held against: refereeing says nothing of a weaker attack."""
    last = imports[-1]
    crafted = next((row for row in imports if row["crafted"]), last)
    again = "crafted again" if crafted["crafted"] else "not crafted again, so that it may be weaker than it is called"
    words = f" ({crafted['crafting']})" if crafted["crafting"] else ""
    return f"{last['source']}, {'refereed' if last['refereed'] else 'not refereed'} on arrival, {again}{words}"


def board_of(cell: Mapping[str, Any], boards: Iterable[Mapping[str, Any]]) -> str:
    """Where a cell was crafted, written like a board's name: as a board of that ball is called, where there is one.

    Only the ball itself could write its radius otherwise, and it may be one that nobody has installed here.
    """
    same = ("dataset", "threat", "params")
    for board in boards:
        if all(board[part] == cell[part] for part in same):
            return str(board["name"]).removesuffix(f"/seed={board['seed']}")
    radius = "inf" if cell["eps"] is None else written_radius(cell["eps"])
    return f"{cell['dataset']}/{cell['family']}/{radius}"
