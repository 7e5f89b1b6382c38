"""The targets of a run, made ready one after the other; one that can't be is set aside, and the others go on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch

from advbench.data import Examples
from advbench.errors import PluginError
from advbench.plugin import Dataset
from advbench.plugins.foreign import spare_others
from advbench.run.boards import draw
from advbench.run.ready import Ready, TrainingProgress, Workshop, certificate_rows, clean_rows, doubts
from advbench.run.session import Session
from advbench.run.trainings import key_of
from advbench.store.rows import SkipRow, TargetRow
from advbench.target.identity import TargetPlan, chain_label


@dataclass(frozen=True)
class Roster:
    """Makes the targets of a session ready."""

    session: Session
    untrained: Mapping[str, str] = field(default_factory=dict)
    """Keys of weights whose training has failed, with the reasons."""

    def ready(self, plans: tuple[TargetPlan, ...]) -> dict[TargetPlan, Ready]:
        """Those that could be made ready, each stored with its answers to the clean images."""
        session, workshop = self.session, Workshop.of(self.session)
        targets: dict[TargetPlan, Ready] = {}
        for place, plan in enumerate(plans):
            session.settings.check_interrupted()
            session.reporter.preparing(plan.label, place, len(plans))
            data = session.datasets[plan.dataset]
            with spare_others(plan.label) as failure:
                if self.untrained and (reason := self.untrained.get(key_of(plan, data))):
                    raise PluginError(reason)
                ready, row = workshop.ready(plan, data, self._examples(plan.dataset), self._training(plan.label))
            if failure.happened:
                session.store.add_skips(session.summary.run, [failed_row(plan, failure.reason)])
                session.tell_failure(plan.label, failure.reason)
                continue
            self._store(ready, row)
            targets[plan] = ready
            session.summary.targets[ready.key] = plan.label
        session.reporter.preparing("", len(plans), len(plans))
        return targets

    def _examples(self, dataset: Dataset) -> Examples:
        """All that a board judges, in the order of the data set; a slice of it where no board draws any."""
        judge = self.session.datasets[dataset].judge
        boards = [board for board in self.session.suite.boards if board.dataset == dataset]
        first = max((board.examples or len(judge) for board in boards if board.drawn is None), default=0)
        drawn = [draw(judge, board.examples or 0, board.drawn).ids for board in boards if board.drawn is not None]
        if not drawn:
            return judge[:first]
        wanted = torch.zeros(len(judge), dtype=torch.bool)
        wanted[:first] = True
        for ids in drawn:
            wanted[judge.places(ids)] = True
        return judge[wanted.nonzero().squeeze(1)]

    def _store(self, ready: Ready, row: TargetRow) -> None:
        store = self.session.store
        store.add_target(row)
        store.add_clean(ready.key, clean_rows(ready))
        store.add_certificates(ready.key, certificate_rows(ready))
        for kind, reason in doubts(ready):
            store.add_note(ready.key, kind, reason, self.session.summary.run)

    def _training(self, label: str) -> TrainingProgress:
        def progress(fraction: float, text: str) -> None:
            self.session.settings.check_interrupted()
            self.session.reporter.training(label, fraction, text)

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
