"""Weights that are lacking, trained before anything is made ready: as many at a time as the engine performs tasks."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from advbench.data import Data
from advbench.engines.crew import Bench, Ended, Engine
from advbench.errors import one_line
from advbench.plugins.foreign import concerns_everybody
from advbench.recipe import Recipe
from advbench.run.missing_weights import MissingWeights, missing_weights
from advbench.run.session import Session
from advbench.target.identity import TargetPlan
from advbench.threads import one_thread
from advbench.weights.training import TrainedResult, effective_recipe, train
from advbench.weights.weight_files import unfinished_path
from advbench.weights.weights import keep_trained, weights_key

OFTEN = 0.25
"""Seconds between two words of how far a training is."""


@dataclass(frozen=True)
class TrainWeights:
    """Train by a recipe; what comes of it is kept by whoever has asked, who may have another cache."""

    key: str
    plan: TargetPlan
    data: Data
    recipe: Recipe
    device: str

    @property
    def group(self) -> Hashable:
        return self.key

    @property
    def shared(self) -> tuple[object, ...]:
        return (self.data,)

    @property
    def patience(self) -> None:
        return None

    def perform(self, bench: Bench) -> TrainedResult:
        spoke = 0.0

        def progress(fraction: float, text: str) -> None:
            nonlocal spoke
            if (now := time.monotonic()) - spoke >= OFTEN or fraction >= 1:
                spoke = now
                bench.told((fraction, text))

        return train(self.plan, self.data, self.recipe, self.device, progress, unfinished_path(self.key))


@dataclass(frozen=True)
class Trained:
    """How the training of one network has ended."""

    asked: MissingWeights
    path: Path | None = None
    """None where it has failed."""
    result: TrainedResult | None = None
    error: Exception | None = None

    @property
    def reason(self) -> str:
        return "" if self.error is None else one_line(self.error)


@dataclass
class Trainings:
    """Trains what lacks weights, one network a task."""

    engine: Engine
    device: torch.device
    heard: Callable[[str, float, str], None] = lambda label, fraction, text: None
    """Told how far a training is; what this raises ends them all."""
    _asked: dict[int, MissingWeights] = field(default_factory=dict)
    """Those under way, by the number of their task."""

    def train(self, lacking: Iterable[MissingWeights]) -> Iterator[Trained]:
        """Each as it ends. A plugin's fault fails its own; what concerns everybody is raised."""
        waiting = list(lacking)
        if not waiting:
            return
        brief: dict[int, Data] = {}
        with one_thread(), closing(self.engine.crew()) as crew:
            crew.listen(self._heard)
            while waiting or self._asked:
                # none waits behind another that may take hours
                while waiting and crew.room > 0 and crew.busy < self.engine.workers:
                    asked = waiting.pop(0)
                    self._asked[crew.submit(self._task(asked, brief))] = asked
                ended = crew.next()
                yield _kept(self._asked.pop(ended.number), ended)

    def _heard(self, number: int, word: tuple[float, str]) -> None:
        self.heard(self._asked[number].label, *word)

    def _task(self, asked: MissingWeights, brief: dict[int, Data]) -> TrainWeights:
        """Without what is judged; the same object for all networks on the same data, which then travels once."""
        data = brief.setdefault(id(asked.data), replace(asked.data, judge=asked.data.judge[:0]))
        return TrainWeights(asked.key, asked.target, data, asked.recipe, str(self.device))


def _kept(asked: MissingWeights, ended: Ended) -> Trained:
    if ended.error is not None:
        if concerns_everybody(ended.error):
            raise ended.error
        return Trained(asked, error=ended.error)
    return Trained(asked, keep_trained(asked.target, asked.recipe, asked.key, ended.value), ended.value)


def train_missing(session: Session, targets: Sequence[TargetPlan]) -> dict[str, str]:
    """Train what the targets lack, and say which trainings have failed: reasons by the key of the weights."""
    lacking = list(missing_weights(targets, session.datasets))
    if not lacking:
        return {}
    settings, reporter, failed = session.settings, session.reporter, dict[str, str]()
    reporter.preparing("", 0, len(targets))

    def heard(label: str, fraction: float, text: str) -> None:
        settings.check_interrupted()
        reporter.training(label, fraction, text)

    for one in Trainings(settings.engine, settings.device, heard).train(lacking):
        reporter.trained(one.asked.label)
        if one.error is not None:
            failed[one.asked.key] = one.reason
    return failed


def key_of(plan: TargetPlan, data: Data) -> str:
    """Under which the weights of a target are kept; empty where it comes with its own."""
    recipe = effective_recipe(plan)
    return "" if recipe is None else weights_key(plan, data, recipe)
