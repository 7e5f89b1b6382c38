"""One cell as a table for a terminal, and where a cell was crafted, in words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

from rich.table import Table
from rich.text import Text

from advbench.errors import printable
from advbench.parameters import written_radius
from advbench.rates.drawn import drawn_by
from advbench.rates.shipper import shipper_of
from advbench.rates.story import Story
from advbench.store.rows import BoardRow, ImportRow
from advbench.terminal.tables import new_table
from advbench.terminal.text import percent


class Crafted(Protocol):
    """What of a cell says in which ball it was crafted."""

    @property
    def dataset(self) -> str: ...

    @property
    def threat(self) -> str: ...

    @property
    def family(self) -> str: ...

    @property
    def params(self) -> Mapping[str, Any] | None: ...

    @property
    def eps(self) -> float | None: ...


def cell_table(story: Story, boards: Iterable[BoardRow]) -> Table:
    """The facts and rates of one cell; the boards are those of its database."""
    cell, origin = story.cell, story.cell.origin or {}
    facts = new_table(header=False)
    facts.add_column(style="dim", overflow="fold")
    facts.add_column(overflow="fold")
    forwards = sum(shard.forwards for shard in story.shards)
    backwards = sum(shard.backwards for shard in story.shards)
    words = {
        "attack": f"{cell.attack}, {cell.goal}, stop: {cell.stop}, seed {cell.seed}",
        "threat": board_of(cell, boards),
        **({"fitted on": cell.fit} if cell.fit else {}),
        **({"attack passes in": cell.precision} if cell.precision else {}),
        **({"ball shipped by": shipper} if (shipper := shipper_of(cell.ball)) else {}),
        "status": story.status or "not finished",
        "examples": f"{cell.count}{drawn_by(story.drawn)}",
        "passes": f"{forwards:,} forward, {backwards:,} backward",
        "seconds": f"{sum(shard.seconds for shard in story.shards):.2f}",
        "shipped by": f"{origin.get('distribution')} {origin.get('version')}",
        "key": cell.key,
    }
    if story.events and (reason := story.events[-1].reason):
        words["reason"] = reason
    if story.imports:
        words["came from"] = arrival(story.imports)
    for name, value in words.items():
        facts.add_row(name, Text(printable(value)))
    for rate in story.rates:
        own = "own" if rate.own else "transfer"
        share = rate.fooled / rate.n if rate.n else None
        where = f", {rate.board_name}" if cell.minimizes else ""  # without a radius, it serves several boards
        text = f"fooled {percent(share)} % of {rate.n}"
        if rate.violations:
            text += f", {rate.violations} violations"
        facts.add_row(Text(printable(f"{own}: {rate.target_label}{where}")), text)
    for one in story.superseded:
        text = f"{one.board} lists the same network as another target, {one.label}"
        facts.add_row("not counted", Text(printable(text)))
    for apart in story.unplaced:
        text = f"fooled {percent(apart.rate)} % of {apart.n}, which no board judges"
        facts.add_row(Text(printable(f"own: {apart.source_label}")), text)
    return facts


def arrival(imports: Sequence[ImportRow]) -> str:
    """How a cell came here by merging, and what it was held against: refereeing says nothing of a weaker attack."""
    last = imports[-1]
    crafted = next((row for row in imports if row.crafted), last)
    again = "crafted again" if crafted.crafted else "not crafted again, so that it may be weaker than it is called"
    words = f" ({crafted.crafting})" if crafted.crafting else ""
    return f"{last.source}, {'refereed' if last.refereed else 'not refereed'} on arrival, {again}{words}"


def board_of(cell: Crafted, boards: Iterable[BoardRow]) -> str:
    """Where a cell was crafted, written like a board's name: as a board of that ball is called, where there is one.

    Only the ball itself could write its radius otherwise, and it may be one that nobody has installed here.
    """
    for board in boards:
        if (board.dataset, board.threat, board.params) == (cell.dataset, cell.threat, cell.params):
            return board.name.removesuffix(f"/seed={board.seed}")
    radius = "inf" if cell.eps is None else written_radius(cell.eps)
    return f"{cell.dataset}/{cell.family}/{radius}"
