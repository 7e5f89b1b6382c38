"""Why a run crafts cells again that the database seems to have: they are of an earlier protocol or of other sources."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from advbench import revisions
from advbench.data import Data, Examples
from advbench.protocol import PROTOCOL
from advbench.rates.earlier import other_parts, other_source
from advbench.run.keys import cell_key, cell_says
from advbench.store import Store
from advbench.store.rows import CellRow, TargetRow, listed
from advbench.suite.plan import CellPlan
from advbench.suite.suite import Suite

Asked = tuple[Any, ...]
"""What identifies a cell in a suite's own words, without the versions and sources that its key takes in."""

LISTED = 4
"""How many reasons are named at most."""


@dataclass(frozen=True)
class Request:
    """A cell that is asked for, and what would make it."""

    asked: Asked
    target: str
    """The key of the target that it is crafted on."""
    origin: Mapping[str, Any]
    """Who shipped the attack, in which version and with which source."""


@dataclass(frozen=True)
class _Lineage:
    target: str
    lineage: str


def request(
    cell: CellPlan, suite: Suite, data: Data, examples: Examples, *, target: str, origin: Mapping[str, Any]
) -> Request:
    says = cell_says(cell.attack, cell.threat, None)
    asked = (
        *(data.judge.fingerprint, examples.fingerprint, cell.source.label, cell.goal),
        *(says["attack"], says["threat"], _written(says["params"])),
        *(suite.seed, suite.stop, suite.budget, suite.precision),
    )
    return Request(asked, target, origin)


def why_anew(store: Store, cells: Iterable[Request]) -> str:
    """In one line, how many of these cells are crafted again and why; empty where none is."""
    here: dict[int, dict[Asked, list[CellRow]]] = {}
    labels = {target.key: target.label for target in store.targets()}
    for row in store.read(
        CellRow,
        f"SELECT {listed(CellRow, 'c')} FROM cells c JOIN cell_state s ON s.cell = c.id "
        "WHERE s.status = 'done' ORDER BY s.event",
    ):
        asked = (
            *(row.data_fingerprint, row.examples, labels[row.source], row.goal),
            *(row.attack, row.threat, _written(row.params)),
            *(row.seed, row.stop, row.budget, row.precision or "float32"),
        )
        here.setdefault(row.protocol, {}).setdefault(asked, []).append(row)
    cells = list(cells)
    today = here.pop(PROTOCOL, {})
    due = [one.asked for one in cells if one.asked not in today]
    earlier = {protocol: sum(one in known for one in due) for protocol, known in sorted(here.items())}
    return "; ".join(
        [
            *_with_other_sources(store, cells, today),
            *(
                f"{_counted(count)} here by protocol {protocol} and crafted again by protocol {PROTOCOL}, whose rules "
                "are others; what is here stays, on boards of its own"
                for protocol, count in earlier.items()
                if count
            ),
        ]
    )


def _with_other_sources(store: Store, cells: Iterable[Request], here: Mapping[Asked, list[CellRow]]) -> Iterator[str]:
    """Of cells that are here by today's protocol and count no longer, what they were crafted with."""
    lineages = {one.target: one.lineage for one in store.read(_Lineage, "SELECT target, lineage FROM lineages")}
    targets = {target.key: target for target in store.targets()}
    reasons: Counter[str] = Counter()
    count = 0
    for one in cells:
        # only within a lineage: what another network of the same label was attacked with is no earlier version
        known = [row for row in here.get(one.asked, ()) if lineages.get(row.source) == lineages.get(one.target)]
        changes = [_reasons(row, targets[row.source], targets[one.target], one) for row in known]
        if changes and all(changes):
            count += 1
            reasons.update(changes[-1])
    if count:
        named = [reason for reason, _ in reasons.most_common(LISTED)]
        more = [f"{len(reasons) - LISTED} more"] if len(reasons) > LISTED else []
        yield f"{_counted(count)} here, crafted with {', '.join([*named, *more])}, and crafted again"


def _reasons(row: CellRow, was: TargetRow, now: TargetRow, one: Request) -> list[str]:
    """Why the stored cell is not the one that is wanted; none where it is."""
    reasons = []
    if words := other_source(one.asked[4].partition("(")[0], row.origin or {}, one.origin):
        reasons.append(words)
    if was.key != now.key:
        reasons += other_parts(was, now) or ["another revision of its target"]
    areas = (*revisions.CELL, row.threat)
    if not reasons and (numbers := next((n for n in revisions.earlier(areas) if cell_key(row, n) == row.key), None)):
        raised = (area for area in areas if numbers.get(area, 1) != revisions.REVISIONS.get(area, 1))
        reasons.append(f"an earlier revision of {' and '.join(raised)}")
    return reasons


def _counted(count: int) -> str:
    return f"{count} {'cell is' if count == 1 else 'cells are'}"


def _written(params: Any) -> str:
    return json.dumps(params, sort_keys=True)
