"""Which cells of a run the database has by the rules of an earlier protocol, so that whoever waits knows why."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from advbench.data import Data, Examples
from advbench.protocol import PROTOCOL
from advbench.run.derivation import cell_says
from advbench.store import Store
from advbench.suite.plan import CellPlan
from advbench.suite.suite import Suite

Asked = tuple[Any, ...]
"""What somebody asks for with a cell, whatever version of anything answers."""


def asked(cell: CellPlan, suite: Suite, data: Data, examples: Examples) -> Asked:
    says = cell_says(cell.attack, cell.threat)
    return (
        *(data.judge.fingerprint, examples.fingerprint, cell.source.label, cell.goal),
        *(says["attack"], says["threat"], _written(says["params"])),
        *(suite.seed, suite.stop, suite.budget),
    )


def why_anew(store: Store, wanted: Iterable[Asked]) -> str:
    """In one line, how many of these cells are crafted again and why; empty where none is."""
    here: dict[int, set[Asked]] = {}
    for row in store.rows("""
        SELECT c.*, t.label FROM cells c JOIN targets t ON t.key = c.source JOIN cell_state s ON s.cell = c.id
        WHERE s.status = 'done'
    """):
        one = (
            *(row["data_fingerprint"], row["examples"], row["label"], row["goal"]),
            *(row["attack"], row["threat"], _written(row["params"])),
            *(row["seed"], row["stop"], row["budget"]),
        )
        here.setdefault(row["protocol"], set()).add(one)
    today = here.pop(PROTOCOL, set())
    due = [one for one in wanted if one not in today]
    earlier = {protocol: sum(one in cells for one in due) for protocol, cells in sorted(here.items())}
    return "; ".join(
        f"{count} {'cell is' if count == 1 else 'cells are'} here by protocol {protocol} and crafted again by protocol "
        f"{PROTOCOL}, whose rules are others; what is here stays, on boards of its own"
        for protocol, count in earlier.items()
        if count
    )


def _written(params: Any) -> str:
    return json.dumps(params, sort_keys=True)
