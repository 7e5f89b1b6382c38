"""Whether the cells that an analysis says it has read are those that its suites ask for: all of them, and no others."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from advbench.data import Data
from advbench.plugin import Dataset
from advbench.plugins.registry import Registry
from advbench.run.boards import judged_examples
from advbench.run.keys import cell_says, target_says
from advbench.store import Store
from advbench.store.rows import CellRow, TargetRow
from advbench.suite.plan import CellPlan, Plan
from advbench.target.identity import content_key

OF_CELL = ("threat", "params", "eps", "attack", "attack_params", "goal", "stop", "seed", "budget", "precision")
OF_TARGET = ("model", "defenses", "dataset", "params")


def other_cells(
    plan: Plan, read: Collection[str], store: Store, registry: Registry, data: Mapping[Dataset, Data]
) -> tuple[list[str], int]:
    """What is wrong with the choice of cells, in words, and how many that the suite asks for are not in the database.

    A cell is known here by who meets whom in it, on which examples: its key also takes in the sources of plugins, which
    may have changed since.
    """
    asked = {_asked(cell, plan, registry, data) for cell in plan.cells}
    targets = {row.key: row for row in store.targets()}
    stored = {row.key: _stored(row, targets[row.source]) for row in store.cells()}
    wrong = [
        f"it says that it has read the cell {key[:12]}, which the suite {plan.suite.name} does not ask for"
        for key in read
        if stored[key] not in asked
    ]
    forgotten = asked - {stored[key] for key in read}
    left_out = [key for key, what in stored.items() if what in forgotten and store.cell_status(key) == "done"]
    wrong += [f"it leaves out the cell {key[:12]}, which the suite {plan.suite.name} asks for" for key in left_out]
    return wrong, len(asked - set(stored.values()))


def _asked(cell: CellPlan, plan: Plan, registry: Registry, data: Mapping[Dataset, Data]) -> str:
    suite, dataset = plan.suite, cell.source.dataset
    says: dict[str, Any] = {
        **cell_says(cell.attack, cell.threat, registry.shipper(cell.threat)),
        "goal": cell.goal,
        "stop": suite.stop,
        "seed": suite.seed,
        "budget": suite.budget,
        "precision": None if suite.precision == "float32" else suite.precision,
    }
    examples = judged_examples(data[dataset], cell.examples, dataset, cell.drawn).fingerprint
    return _identity(says, target_says(cell.source), examples)


def _stored(row: CellRow, target: TargetRow) -> str:
    return _identity(vars(row), vars(target), row.examples)


def _identity(cell: Mapping[str, Any], target: Mapping[str, Any], examples: str) -> str:
    who, whom = {one: cell[one] for one in OF_CELL}, {one: target[one] for one in OF_TARGET}
    return content_key({"cell": who, "target": whom, "examples": examples})
