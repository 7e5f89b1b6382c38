"""Which cells of a run the database has by other rules or from other sources, so that whoever waits knows why."""

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
from advbench.run.derivation import cell_key, cell_says
from advbench.store import Store
from advbench.store.rows import CellRow, TargetRow, listed
from advbench.suite.plan import CellPlan
from advbench.suite.suite import Suite

Asked = tuple[Any, ...]
"""What somebody asks for with a cell, whatever version of anything answers."""

LISTED = 4
"""So many reasons are named."""


@dataclass(frozen=True)
class Wanted:
    """A cell that is asked for, and what would make it."""

    asked: Asked
    target: str
    """The key of the target that it is crafted on."""
    origin: Mapping[str, Any]
    """Of the attack."""


@dataclass(frozen=True)
class _Lineage:
    target: str
    lineage: str


def wanted(
    cell: CellPlan, suite: Suite, data: Data, examples: Examples, *, target: str, origin: Mapping[str, Any]
) -> Wanted:
    says = cell_says(cell.attack, cell.threat, None)
    asked = (
        *(data.judge.fingerprint, examples.fingerprint, cell.source.label, cell.goal),
        *(says["attack"], says["threat"], _written(says["params"])),
        *(suite.seed, suite.stop, suite.budget),
    )
    return Wanted(asked, target, origin)


def why_anew(store: Store, cells: Iterable[Wanted]) -> str:
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
            *(row.seed, row.stop, row.budget),
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


def _with_other_sources(store: Store, cells: Iterable[Wanted], here: Mapping[Asked, list[CellRow]]) -> Iterator[str]:
    """Of cells that are here by today's protocol and count no longer, what they were crafted with."""
    lineages = {one.target: one.lineage for one in store.read(_Lineage, "SELECT target, lineage FROM lineages")}
    targets = {target.key: target for target in store.targets()}
    reasons: Counter[str] = Counter()
    count = 0
    for one in cells:
        # of another network with the same label nothing was crafted that could be crafted again
        known = [row for row in here.get(one.asked, ()) if lineages.get(row.source) == lineages.get(one.target)]
        found = [_reasons(row, targets[row.source], targets[one.target], one) for row in known]
        if found and all(found):
            count += 1
            reasons.update(found[-1])
    if count:
        named = [reason for reason, _ in reasons.most_common(LISTED)]
        more = [f"{len(reasons) - LISTED} more"] if len(reasons) > LISTED else []
        yield f"{_counted(count)} here, crafted with {', '.join([*named, *more])}, and crafted again"


def _reasons(row: CellRow, was: TargetRow, now: TargetRow, one: Wanted) -> list[str]:
    """Why the stored cell is not the one that is wanted; none where it is."""
    found = []
    if words := other_source(one.asked[4].partition("(")[0], row.origin or {}, one.origin):
        found.append(words)
    if was.key != now.key:
        found += other_parts(was, now) or ["another revision of its target"]
    areas = (*revisions.CELL, row.threat)
    if not found and (numbers := next((n for n in revisions.earlier(areas) if cell_key(row, n) == row.key), None)):
        raised = (area for area in areas if numbers.get(area, 1) != revisions.REVISIONS.get(area, 1))
        found.append(f"an earlier revision of {' and '.join(raised)}")
    return found


def _counted(count: int) -> str:
    return f"{count} {'cell is' if count == 1 else 'cells are'}"


def _written(params: Any) -> str:
    return json.dumps(params, sort_keys=True)
