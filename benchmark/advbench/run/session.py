"""One run under way: what was asked for, where its facts go, and who hears of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import dataclass, field

import torch

from advbench.data import Data, DataFolders, Examples
from advbench.engines.crew import Engine
from advbench.engines.serial import Serial
from advbench.interrupts import Interrupted
from advbench.plugin import Dataset
from advbench.plugins.registry import Registry
from advbench.run.boards import judged_examples
from advbench.run.part import Share
from advbench.run.report import Reporter, Summary
from advbench.store import Store
from advbench.suite.plan import CellPlan
from advbench.suite.suite import Suite


@dataclass(frozen=True)
class Settings:
    """How to run, as opposed to what: nothing here can change a verdict."""

    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    folders: DataFolders = field(default_factory=DataFolders.default)
    batch: int | None = None
    engine: Engine = field(default_factory=Serial)
    command: str = ""
    train: bool = False
    """Whether to begin a training that takes long."""
    share: Share | None = None
    """What to perform of each cell, such as `Part(3, 16)`; None for all of it."""
    interrupted: Callable[[], bool] = lambda: False
    thresholds: MutableMapping[str, float] | None = None
    """Of detectors by their targets' keys, as far as this process has set them: the suites of a study share targets."""

    def check_interrupted(self) -> None:
        """Asked wherever everything that is stored is whole."""
        if self.interrupted():
            raise Interrupted


@dataclass(frozen=True)
class Session:
    """What everything in a run goes by, from its first target to its last cell."""

    suite: Suite
    datasets: Mapping[Dataset, Data]
    """Those of the suite's boards, loaded."""
    store: Store
    registry: Registry
    settings: Settings
    reporter: Reporter
    summary: Summary
    _judged: dict[tuple[Dataset, int | None, int | None], Examples] = field(default_factory=dict)

    def data(self, cell: CellPlan) -> Data:
        return self.datasets[cell.source.dataset]

    def examples(self, cell: CellPlan) -> Examples:
        """Those that the cell is judged on; the same object for all cells on them."""
        place = (cell.source.dataset, cell.examples, cell.drawn)
        if place not in self._judged:
            self._judged[place] = judged_examples(self.data(cell), cell.examples, cell.source.dataset, cell.drawn)
        return self._judged[place]

    def tell_failure(self, label: str, reason: str) -> None:
        """Of a target, a data set or a cell: shown at once, and counted in the end."""
        self.summary.failed.append((label, reason))
        self.reporter.ended(label, "failed", reason)
