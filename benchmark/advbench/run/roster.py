"""The targets of a run, made ready one after the other; one that can't be is set aside, and the others go on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch

from advbench.data import Data
from advbench.errors import AdvbenchError, PluginError, one_line
from advbench.plugin import Dataset
from advbench.plugins.foreign import contained
from advbench.plugins.registry import Registry
from advbench.run.ready import Ready, TrainingProgress, certificate_rows, clean_rows, doubts, ready_target
from advbench.run.report import Reporter, Summary
from advbench.store import Store
from advbench.store.rows import SkipRow
from advbench.suite.plan import TargetPlan
from advbench.suite.suite import Suite
from advbench.target.target import chain_label


@dataclass(frozen=True)
class Roster:
    """What making targets ready needs, and whom it tells."""

    suite: Suite
    store: Store
    registry: Registry
    device: torch.device
    datasets: Mapping[Dataset, Data]
    reporter: Reporter
    summary: Summary
    check_interrupted: Callable[[], None]

    def ready(self, plans: tuple[TargetPlan, ...]) -> dict[TargetPlan, Ready]:
        """Those that could be made ready, each stored with its answers to the clean images."""
        found: dict[TargetPlan, Ready] = {}
        for place, plan in enumerate(plans):
            self.check_interrupted()
            self.reporter.preparing(plan.label, place, len(plans))
            data = self.datasets[plan.dataset]
            counts = [b.examples or len(data.judge) for b in self.suite.boards if b.dataset == plan.dataset]
            try:
                with contained(plan.label):
                    ready, row = ready_target(
                        plan,
                        data,
                        data.judge[: max(counts)],
                        registry=self.registry,
                        false_positive_rate=self.suite.false_positive_rate,
                        device=self.device,
                        progress=self._training(plan.label),
                    )
            except AdvbenchError as error:
                if not isinstance(error, PluginError):
                    raise
                self._set_aside(plan, one_line(error))
            except Exception as error:
                self._set_aside(plan, one_line(error))
            else:
                self.store.add_target(row)
                self.store.add_clean(ready.key, clean_rows(ready))
                self.store.add_certificates(ready.key, certificate_rows(ready))
                for kind, reason in doubts(ready):
                    self.store.add_note(ready.key, kind, reason, self.summary.run)
                found[plan] = ready
                self.summary.targets[ready.key] = plan.label
        self.reporter.preparing("", len(plans), len(plans))
        return found

    def _set_aside(self, plan: TargetPlan, reason: str) -> None:
        """A target that can't be made ready is shown as failed."""
        self.summary.failed.append((plan.label, reason))
        self.store.add_skips(self.summary.run, [failed_row(plan, reason)])
        self.reporter.ended(plan.label, "failed", reason)

    def _training(self, label: str) -> TrainingProgress:
        def progress(fraction: float, text: str) -> None:
            self.check_interrupted()
            self.reporter.training(label, fraction, text)

        return progress


def failed_row(plan: TargetPlan, reason: str) -> SkipRow:
    """How the store holds a target that meets nobody, since it failed."""
    return SkipRow(
        dataset=plan.dataset.label,
        model=plan.model.label,
        defenses=chain_label(plan.defenses),
        attack="",
        threat="",
        goal="",
        reason=f"failed: {reason}",
    )
