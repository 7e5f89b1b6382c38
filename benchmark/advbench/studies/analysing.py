"""One analysis performed: its key, what it is given, and what it found as rows of the store."""

from __future__ import annotations

import math
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from advbench import revisions
from advbench.data import Data
from advbench.errors import AdvbenchError, PluginError, did_you_mean
from advbench.findings import Findings, Picture
from advbench.plugin import Dataset
from advbench.plugins.foreign import Failure, attributed, spare_others
from advbench.plugins.origin import identity
from advbench.plugins.registry import Registry
from advbench.run.hardware import describe_hardware, describe_versions
from advbench.run.session import Settings
from advbench.store import Store
from advbench.store.study_rows import AnalysisRow, FindingRow, Found, PictureRow, PointRow, add_analysis, analysis
from advbench.studies.material import Material
from advbench.study import Analysis, Level, Wanted
from advbench.target.identity import content_key
from advbench.target.target import Target

LARGEST = 4096
"""Pixels along a side of a picture."""


@dataclass(frozen=True)
class Shelf:
    """All that the analyses of a study may be given."""

    store: Store
    registry: Registry
    settings: Settings
    level: Level
    seed: int
    suites: Mapping[str, Sequence[str]]
    """Keys of the finished cells, by suite."""
    unfinished: Mapping[str, str]
    """Why a suite has no cells, or which of them failed."""
    targets: Mapping[Wanted, Target]
    missing: Mapping[Wanted, str]
    """Why a target could not be made ready."""
    datasets: Mapping[str, tuple[Dataset, Data]]

    def lacking(self, asked: Analysis) -> str:
        """Why an analysis can't be performed; empty where it can."""
        inputs = asked.inputs
        for suite in inputs.suites:
            if suite not in self.suites:
                return (
                    self.unfinished.get(suite) or f"the study has no suite {suite!r}{did_you_mean(suite, self.suites)}"
                )
            if not self.suites[suite]:
                return self.unfinished.get(suite) or f"the suite {suite} has no finished cell"
        for wanted in inputs.targets:
            if wanted not in self.targets:
                return self.missing.get(wanted, f"{wanted.model} could not be made ready")
        return next((f"{name} is not on this machine" for name in inputs.data if name not in self.datasets), "")

    def reads(self, asked: Analysis) -> dict[str, Any]:
        """What it reads, by keys and fingerprints."""
        inputs = asked.inputs
        cells = {
            key: sorted({target for target, _ in self.store.judged(key)})
            for s in inputs.suites
            for key in self.suites[s]
        }
        data = {*inputs.data, *(wanted.dataset for wanted in inputs.targets)}
        return {
            "level": self.level,
            "suites": {suite: list(self.suites[suite]) for suite in inputs.suites},
            "judges": content_key(cells),
            "targets": [self.targets[wanted].key for wanted in inputs.targets],
            "data": {name: _fingerprints(self.datasets[name][1]) for name in sorted(data)},
        }

    def key(self, asked: Analysis, reads: Mapping[str, Any]) -> str:
        """A hash of everything that what it finds depends on."""
        origin = asdict(self.registry.origin_of(type(asked)))
        return content_key(
            {
                "analysis": asked.name,
                "params": asked.params(),
                "origin": identity(origin),
                "reads": reads,
                "seed": self.seed,
                **revisions.in_key(revisions.ANALYSIS),
            }
        )

    def material(self, asked: Analysis, progress: Callable[[float, str], None]) -> Material:
        """What it says that it reads, and nothing else."""
        inputs = asked.inputs
        names = {*inputs.data, *(wanted.dataset for wanted in inputs.targets)}
        cells = {key for suite in inputs.suites for key in self.suites[suite]}
        names |= {row.dataset for row in self.store.cells() if row.key in cells}
        return Material(
            level=self.level,
            store=self.store,
            registry=self.registry,
            device=self.settings.device,
            seed=self.seed,
            suites={suite: self.suites[suite] for suite in inputs.suites},
            targets={wanted: self.targets[wanted] for wanted in inputs.targets},
            datasets={name: self.datasets[name] for name in sorted(names) if name in self.datasets},
            progress=progress,
        )


def _fingerprints(data: Data) -> list[str]:
    """Of all three parts: an analysis may read any of them."""
    return [part.fingerprint for part in (data.train, data.calibrate, data.judge)]


def perform(asked: Analysis, shelf: Shelf, progress: Callable[[float, str], None]) -> tuple[str, bool, Failure]:
    """The key of what it found, whether that was there already, and how it failed where it did.

    Stored in one transaction when it is done. That the store can't take it is no failure of the analysis, but an error.
    """
    reads = shelf.reads(asked)
    key = shelf.key(asked, reads)
    if analysis(shelf.store, key) is not None:
        return key, True, Failure()
    began = time.monotonic()
    found: Found | None = None
    with spare_others(asked.label, (AdvbenchError,)) as failure:
        found = found_by(asked, shelf, progress)
    if found is None:
        return key, False, failure
    row = AnalysisRow(
        key=key,
        name=asked.name,
        label=asked.label,
        params=asked.params(),
        origin=asdict(shelf.registry.origin_of(type(asked))),
        reads=reads,
        seed=shelf.seed,
        seconds=time.monotonic() - began,
        versions=describe_versions(),
        hardware=describe_hardware(shelf.settings.device),
    )
    add_analysis(shelf.store, row, found)
    return key, False, failure


def found_by(asked: Analysis, shelf: Shelf, progress: Callable[[float, str], None]) -> Found:
    """What an analysis finds, held to the form that it must have."""
    material = shelf.material(asked, progress)
    with attributed(f"the analysis {asked.label}"):
        answer = asked.find(material)
        if not isinstance(answer, Findings):
            raise PluginError(f"`find` must return Findings, not {type(answer).__name__}")
        shown = all(dataset.publishable for dataset, _ in material.datasets.values())
        return as_rows(answer, of_data=shown)


def as_rows(answer: Findings, *, of_data: bool = True) -> Found:
    """Findings as they are stored; pictures of data that may not be published are left out."""
    for kind in ("numbers", "series", "pictures"):
        names = [one.name for one in getattr(answer, kind)]
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise PluginError(f"two of its {kind} are called {twice!r}")
    numbers = [
        FindingRow(one.name, _number(one.value), _number(one.low), _number(one.high), one.n, one.unit)
        for one in answer.numbers
    ]
    points = [
        PointRow(place, position, series.name, float(point.x), float(point.y), _number(point.low), _number(point.high))
        for place, series in enumerate(answer.series)
        for position, point in enumerate(series.points)
        if math.isfinite(point.x) and math.isfinite(point.y)
    ]
    return Found(numbers, points, [_picture(one) for one in answer.pictures if of_data or not one.of_data])


def _number(value: float | None) -> float | None:
    """A number that a page can show: one that is not finite is unknown."""
    return None if value is None or not math.isfinite(value) else float(value)


def _picture(one: Picture) -> PictureRow:
    pixels = one.pixels.detach().cpu().numpy() if hasattr(one.pixels, "detach") else np.asarray(one.pixels)
    if pixels.ndim != 3 or pixels.shape[0] not in (1, 3) or not 0 < max(pixels.shape[1:]) <= LARGEST:
        raise PluginError(f"the picture {one.name!r} has shape {pixels.shape} instead of (1 or 3, height, width)")
    if not np.isfinite(pixels).all():
        raise PluginError(f"the picture {one.name!r} holds what is no number")
    levels = np.ascontiguousarray((pixels.clip(0, 1) * 255).round().astype(np.uint8))
    channels, height, width = pixels.shape
    return PictureRow(one.name, one.caption, channels, height, width, zlib.compress(levels.tobytes(), 9))
