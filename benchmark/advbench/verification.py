"""Refereeing stored perturbations from scratch, and holding the verdicts against the stored ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from advbench.data import Data, DataFolders
from advbench.errors import AdvbenchError
from advbench.plugin import Dataset
from advbench.prepare import find_target
from advbench.referee import Verdict, judge, render
from advbench.registry import Registry
from advbench.store import Store
from advbench.stored import load_dataset, stored_shards, threat_of
from advbench.target import Target

SIZE = 1e-4
"""Sizes are recomputed in float64 from the same numbers; only another order of sums may show, relative to the size."""
CONFIDENCE = 5e-3
"""Another machine's convolutions move logits a little."""


@dataclass
class Verified:
    """What became of one cell's outcomes."""

    cell: str
    label: str
    outcomes: int = 0
    differences: list[str] = field(default_factory=list)
    unchecked: str = ""
    """Why nothing, or not everything, could be checked."""


def verify(
    store: Store,
    registry: Registry,
    cells: list[dict[str, Any]],
    *,
    folders: DataFolders,
    device: torch.device,
) -> Iterator[Verified]:
    """Referee the cells' stored perturbations again, on every target that they were judged on."""
    datasets: dict[str, tuple[Dataset, Data]] = {}
    targets: dict[str, Target | str] = {}
    rows = {row["key"]: row for row in store.targets()}
    for cell in cells:
        source = rows[cell["source"]]["label"]
        result = Verified(cell["key"], f"{cell['attack']} in {cell['family']} on {source}")
        fingerprint = cell["data_fingerprint"]
        if fingerprint not in datasets:
            datasets[fingerprint] = load_dataset(registry, folders, cell["dataset"], fingerprint)
        dataset, data = datasets[fingerprint]
        judged = store.judged(cell["key"])
        for key in sorted({target for target, _ in judged}):
            if key not in targets:
                targets[key] = _target(rows[key], dataset, data, registry, device)
        _verify_cell(store, cell, data, targets, judged, device, result)
        yield result


def _target(
    row: Mapping[str, Any], dataset: Dataset, data: Data, registry: Registry, device: torch.device
) -> Target | str:
    """The stored target rebuilt, or why it can't be."""
    try:
        return find_target(row, dataset, data, registry=registry, device=device)
    except AdvbenchError as error:
        return f"{row['label']}: {error}"


def _verify_cell(
    store: Store,
    cell: dict[str, Any],
    data: Data,
    targets: Mapping[str, Target | str],
    judged: set[tuple[str, int]],
    device: torch.device,
    result: Verified,
) -> None:
    threat = threat_of(cell)
    keys = sorted({target for target, _ in judged})
    stored = {key: {row["example"]: row for row in store.outcomes(cell["key"], key)} for key in keys}
    result.unchecked = "; ".join(str(targets[key]) for key in keys if isinstance(targets[key], str))
    try:
        for shard in stored_shards(store, cell, data.judge, device):
            rendered = render(threat, shard.x, shard.p)
            for key in keys:
                target = targets[key]
                if isinstance(target, str) or (key, shard.number) not in judged:
                    continue
                verdicts = judge(target, rendered, shard.goal)
                for example, verdict in zip(shard.examples.ids.tolist(), verdicts, strict=True):
                    result.outcomes += 1
                    found = stored[key].get(example)
                    if difference := "is not stored" if found is None else _difference(verdict, found):
                        result.differences.append(f"example {example} on {target.label}: {difference}")
    except AdvbenchError as error:  # a missing or damaged artifact concerns this cell alone
        result.differences.append(str(error))


def _difference(verdict: Verdict, stored: Mapping[str, Any]) -> str:
    """In words, where a fresh verdict and the stored one part; empty when they agree."""
    if verdict.violation != stored["violation"]:
        return f"violation {verdict.violation!r}, stored {stored['violation']!r}"
    if verdict.predicted != stored["predicted"]:
        return f"predicted {verdict.predicted}, stored {stored['predicted']}"
    if int(verdict.reached) != stored["reached"]:
        return f"reached {verdict.reached}, stored {bool(stored['reached'])}"
    if abs(verdict.size - stored["size"]) > SIZE * max(1.0, verdict.size):
        return f"size {verdict.size:.6g}, stored {stored['size']:.6g}"
    if abs(verdict.confidence - stored["confidence"]) > CONFIDENCE:
        return f"confidence {verdict.confidence:.4f}, stored {stored['confidence']:.4f}"
    return ""
