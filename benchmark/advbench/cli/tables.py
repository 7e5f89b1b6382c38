"""The rates of a database as tables for a terminal."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rich.table import Table
from rich.text import Text

from advbench.cli.text import interval, percent, plain
from advbench.store import Store


def board_tables(
    store: Store,
    names: Iterable[str] | None = None,
    *,
    keys: Iterable[str] | None = None,
    targets: Iterable[str] | None = None,
) -> list[Table]:
    """One table a board: targets by pointwise worst-case accuracy, every attack beside it."""
    some, chosen, shown = (None if wanted is None else set(wanted) for wanted in (names, keys, targets))
    views = ("robust_accuracy", "attack_accuracy", "clean_accuracy", "undetected")
    with store.tallied():
        rates = {view: [r for r in store.rates(view) if shown is None or r["target"] in shown] for view in views}
        boards = store.boards()
    return [
        _board_table(board, {view: [r for r in rows if r["board"] == board["key"]] for view, rows in rates.items()})
        for board in boards
        if (some is None or board["name"] in some) and (chosen is None or board["key"] in chosen)
    ]


def _board_table(board: dict[str, Any], rates: dict[str, list[dict[str, Any]]]) -> Table:
    table = Table(
        title=Text(f"{plain(board['name'])} · {board['count']} examples · percent right, 95 % interval"),
        title_justify="left",
        title_style="bold",
    )
    entrants = sorted({row["entrant"] for row in rates["attack_accuracy"]})
    detects = bool(rates["undetected"])
    table.add_column("target", overflow="fold")
    table.add_column("clean", justify="right", overflow="fold")
    for entrant in entrants:
        table.add_column(Text(plain(entrant)), justify="right", overflow="fold")
    table.add_column("worst case", justify="right", style="bold", overflow="fold")
    if detects:
        table.add_column("fooled, undetected", justify="right", overflow="fold")
        table.add_column("false alarms", justify="right", overflow="fold")
    unranked = []
    clean = {row["target"]: row for row in rates["clean_accuracy"]}
    attacked = {(row["target"], row["entrant"]): row for row in rates["attack_accuracy"]}
    for row in sorted(rates["robust_accuracy"], key=_rank):
        target = row["target"]
        cells: list[Text | str] = [Text(plain(row["target_label"])), percent(clean[target]["accuracy"])]
        for entrant in entrants:
            found = attacked.get((target, entrant))
            cells.append(percent(found["accuracy"]) if found else "–")
        if row["accuracy"] is None:
            cells.append(Text("unranked", style="dim"))
            unranked.append(plain(f"{row['target_label']} is unranked: {row['unranked']}"))
        else:
            cells.append(f"{percent(row['accuracy'])} {interval(row['accuracy_low'], row['accuracy_high'])}")
        if detects:
            own = [u for u in rates["undetected"] if u["target"] == target and u["own"]]
            cells.append(percent(max(u["rate"] for u in own)) if own else "–")
            cells.append(percent(own[0]["false_positives"]) if own else "–")
        table.add_row(*cells)
    if unranked:
        table.caption, table.caption_justify = Text("\n".join(unranked)), "left"
    return table


def _rank(row: dict[str, Any]) -> tuple[bool, float, str]:
    accuracy = row["accuracy"]
    return accuracy is None, -(accuracy or 0.0), row["target_label"]


def cell_table(cell: dict[str, Any]) -> Table:
    """The facts and rates of one cell."""
    table = Table(title=Text(f"cell {cell['key'][:12]}"), title_justify="left", show_header=False)
    table.add_column(style="dim")
    table.add_column(overflow="fold")
    radius = "unbounded" if cell["eps"] is None else f"{cell['eps']:g}"
    forwards = sum(shard["forwards"] for shard in cell["shards"])
    backwards = sum(shard["backwards"] for shard in cell["shards"])
    words = {
        "attack": f"{cell['attack']}, {cell['goal']}, stop: {cell['stop']}, seed {cell['seed']}",
        "threat": f"{cell['family']}, eps {radius}, on {cell['dataset']}",
        "status": cell["status"] or "not finished",
        "examples": str(cell["count"]),
        "passes": f"{forwards:,} forward, {backwards:,} backward",
        "seconds": f"{sum(shard['seconds'] for shard in cell['shards']):.2f}",
        "shipped by": f"{cell['origin'].get('distribution')} {cell['origin'].get('version')}",
        "key": cell["key"],
    }
    for event in cell["events"]:
        if event["reason"]:
            words["reason"] = event["reason"]
    for name, value in words.items():
        table.add_row(name, Text(plain(value)))
    for rate in cell["rates"]:
        own = "own" if rate["own"] else "transfer"
        share = rate["fooled"] / rate["n"] if rate["n"] else None
        text = f"fooled {percent(share)} % of {rate['n']}"
        if rate["violations"]:
            text += f", {rate['violations']} violations"
        table.add_row(Text(plain(f"{own}: {rate['target_label']}")), text)
    return table
