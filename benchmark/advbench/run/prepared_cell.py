"""A cell between its plan and its facts."""

from __future__ import annotations

from dataclasses import dataclass

from advbench.crafting.cell import Shard
from advbench.data import Examples
from advbench.problem.supplies import Supplies
from advbench.run.ready import Ready
from advbench.suite.plan import CellPlan


@dataclass(frozen=True)
class PreparedCell:
    """A cell of a plan under its key, with all that crafting and judging it take."""

    key: str
    plan: CellPlan
    source: Ready
    """The target that it is crafted on."""
    examples: Examples
    """Those that it is judged on."""
    shards: tuple[Shard, ...]
    """Those that this run performs: all, or its share."""
    count: int
    """How many shards there are."""
    missing: tuple[Shard, ...]
    """Those of its own that the store lacks."""
    supplies: Supplies
