"""Refereeing stored perturbations from scratch, and holding the verdicts against the stored ones."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from advbench.clean import clean_pass
from advbench.data import Data, DataFolders
from advbench.draws import Draws
from advbench.errors import AdvbenchError, describe
from advbench.exhibits import exhibits, shown_of, unlike
from advbench.goal import choose_labels
from advbench.plugin import Dataset
from advbench.prepare import Ready, certificate_rows, clean_rows, find_target
from advbench.referee import Verdict, judge, render
from advbench.registry import Registry
from advbench.store import Store, marks
from advbench.stored import StoredShard, load_dataset, stored_shards, threat_of
from advbench.target import Target

SIZE = 1e-4
"""Sizes are recomputed in float64 from the same numbers; only another order of sums may show, relative to the size."""
CONFIDENCE = 5e-3
"""Another machine's convolutions move logits, and what a detector makes of them, a little."""


@dataclass
class Verified:
    """What became of one cell's outcomes, or of one target's clean answers."""

    cell: str
    """Its key; empty for clean answers."""
    label: str
    noun: str = "outcomes"
    outcomes: int = 0
    differences: list[str] = field(default_factory=list)
    unchecked: str = ""
    """Why nothing, or not everything, could be checked."""
    facts: dict[str, str] = field(default_factory=dict)
    """Of a cell: the checksums, by target, of what was stored when this began (`store.marks`)."""
    shaken: str = ""
    """Of a cell: the targets whose clean answers differ or could not be checked, so that its rates can't be trusted."""

    @property
    def sound(self) -> bool:
        return not self.differences and not self.unchecked


def verify(
    store: Store,
    registry: Registry,
    cells: list[dict[str, Any]],
    *,
    folders: DataFolders,
    device: torch.device,
) -> Iterator[Verified]:
    """Ask again about the clean images, and referee the stored perturbations, on every target that was judged."""
    verifier = Verifier(store, registry, folders, device)
    for cell in cells:
        yield from verifier.cell(cell)


class Verifier:
    """Referees cells again, and each target's clean answers before the first cell that was judged on it."""

    def __init__(self, store: Store, registry: Registry, folders: DataFolders, device: torch.device) -> None:
        self.store, self.registry, self.folders, self.device = store, registry, folders, device
        self.datasets: dict[str, tuple[Dataset, Data] | str] = {}
        self.targets: dict[str, Target | str] = {}
        self.clean: dict[str, Verified] = {}
        """By target key, where there are answers to check."""
        self.rows = {row["key"]: row for row in store.targets()}

    def cell(self, cell: dict[str, Any]) -> Iterator[Verified]:
        """The cell's result comes last."""
        source = self.rows.get(cell["source"], {}).get("label", "a target that is not there")
        result = Verified(cell["key"], f"{cell['attack']} in {cell['family']} on {source}")
        try:
            yield from self._refereed(cell, result)
        except AdvbenchError as error:
            result.differences.append(str(error))
        except Exception as error:  # whatever stored facts make our code stumble over concerns this cell alone
            result.differences.append(f"it can't be refereed: {describe(error)}")
        yield result

    def _refereed(self, cell: dict[str, Any], result: Verified) -> Iterator[Verified]:
        """What became of clean answers that were not asked for before; the rest goes into the cell's result."""
        result.facts = marks.facts_of(self.store, [cell["id"]]).get(cell["id"], {})
        fingerprint = cell["data_fingerprint"]
        if fingerprint not in self.datasets:
            self.datasets[fingerprint] = _dataset(self.registry, self.folders, cell["dataset"], fingerprint)
        found = self.datasets[fingerprint]
        if isinstance(found, str):
            result.unchecked = found
            return
        dataset, data = found
        judged = self.store.judged(cell["key"])
        keys = sorted({cell["source"], *(target for target, _ in judged)})
        for key in keys:
            if key not in self.targets:
                self.targets[key] = target = _target(self.rows[key], dataset, data, self.registry, self.device)
                if isinstance(target, Target):
                    self.clean[key] = self._clean(self.rows[key], target, data)
                    yield self.clean[key]
        result.shaken = ", ".join(self.rows[k]["label"] for k in keys if k in self.clean and not self.clean[k].sound)
        _verify_cell(self.store, cell, dataset, data, self.targets, judged, self.device, result)

    def _clean(self, row: Mapping[str, Any], target: Target, data: Data) -> Verified:
        result = Verified("", f"clean answers of {target.label}", "answers")
        try:
            _verify_clean(self.store, row, target, data, self.device, result)
        except AdvbenchError as error:
            result.differences.append(str(error))
        except Exception as error:
            result.differences.append(f"they can't be refereed: {describe(error)}")
        return result


def _dataset(registry: Registry, folders: DataFolders, label: str, fingerprint: str) -> tuple[Dataset, Data] | str:
    """The data set that was judged, or why it is not here."""
    try:
        return load_dataset(registry, folders, label, fingerprint)
    except AdvbenchError as error:
        return str(error)


def _target(
    row: Mapping[str, Any], dataset: Dataset, data: Data, registry: Registry, device: torch.device
) -> Target | str:
    """The stored target rebuilt, or why it can't be."""
    try:
        return find_target(row, dataset, data, registry=registry, device=device)
    except Exception as error:  # a plugin that has changed since may fail in any way
        return f"{row['label']}: {error if isinstance(error, AdvbenchError) else describe(error)}"


def _verify_clean(
    store: Store, row: Mapping[str, Any], target: Target, data: Data, device: torch.device, result: Verified
) -> None:
    """What is right under attack depends on what was right before it."""
    stored = store.clean(row["key"])
    if bool(row["randomised"]) != (target.draws > 1):
        result.differences.append(f"it answers {'' if target.draws > 1 else 'not '}by chance, stored otherwise")
    if not _near(target.threshold, row["threshold"]):
        result.differences.append(f"the detector's threshold is {target.threshold}, stored {row['threshold']}")
    ids = data.judge.ids.tolist()
    if strangers := stored.keys() - set(ids):
        result.differences.append(f"example {min(strangers)} is not in the data set")
    places = torch.tensor([place for place, example in enumerate(ids) if example in stored], dtype=torch.int64)
    examples = data.judge[places]
    ready = Ready(target, clean_pass(target, examples, device), examples)
    for fresh in clean_rows(ready) if len(examples) and (target.repeats or not row["randomised"]) else ():
        result.outcomes += 1
        found = stored[fresh["example"]]
        for name in ("label", "predicted", "confidence", "suspicion"):
            exact = name in ("label", "predicted")
            if fresh[name] != found[name] if exact else not _near(fresh[name], found[name]):
                result.differences.append(f"example {fresh['example']}: {name} {fresh[name]}, stored {found[name]}")
                break
    proved = {fresh["example"]: fresh for fresh in certificate_rows(ready)}
    for example, found in store.certificates(row["key"]).items():
        again = proved.get(example)
        if again is None or again["predicted"] != found["predicted"] or not _near(again["radius"], found["radius"]):
            result.differences.append(f"example {example}: a radius of {found['radius']:.4g} is not proved again")


def _verify_cell(
    store: Store,
    cell: dict[str, Any],
    dataset: Dataset,
    data: Data,
    targets: Mapping[str, Target | str],
    judged: set[tuple[str, int]],
    device: torch.device,
    result: Verified,
) -> None:
    threat = threat_of(cell)
    randomised = {row["key"] for row in store.targets() if row["randomised"]}
    seen: set[int] = set()
    keys = sorted({cell["source"], *(target for target, _ in judged)})
    stored = {key: {row["example"]: row for row in store.outcomes(cell["key"], key)} for key in keys}
    shown_first = shown_of(store.examples(cell["examples"]), dataset.shape)
    pictures = {row["example"]: row for row in store.exhibits(cell["key"])}
    result.unchecked = "; ".join(str(targets[key]) for key in keys if isinstance(targets[key], str))
    if wrong := _wrong_examples(store, cell, data):
        result.differences.append(wrong)
    try:
        for shard in stored_shards(store, cell, data.judge, device):
            rendered = render(threat, shard.x, shard.p)
            seen.update(shard.examples.ids.tolist())
            if wrong := _wrong_aim(cell, shard, dataset.classes):
                result.differences.append(wrong)
            if isinstance(source := targets[cell["source"]], Target):
                shown = frozenset(pictures) & shown_first & set(shard.examples.ids.tolist())
                for fresh in exhibits(source, threat, shard.x, shard.p, rendered.images, shard.examples.ids, shown):
                    kept = pictures.pop(fresh["example"])
                    if source.draws > 1:
                        fresh["redrawn"] = kept["redrawn"]  # drawn by chance
                    if wrong := unlike(fresh, kept, dataset.shape):
                        result.differences.append(f"example {fresh['example']}: {wrong}")
            for key in keys:
                target = targets[key]
                if isinstance(target, str) or (key, shard.number) not in judged:
                    continue
                verdicts = judge(target, rendered, shard.goal)
                ids, goals = shard.examples.ids.tolist(), shard.goal.labels.tolist()
                for example, goal_label, verdict in zip(ids, goals, verdicts, strict=True):
                    result.outcomes += 1
                    found = stored[key].pop(example, None)
                    exact = key not in randomised or target.repeats
                    difference = "is not stored" if found is None else _difference(verdict, goal_label, found, exact)
                    if difference:
                        result.differences.append(f"example {example} on {target.label}: {difference}")
    except AdvbenchError as error:  # a missing or damaged artifact concerns this cell alone
        result.differences.append(str(error))
        return
    if store.cell_status(cell["key"]) == "done" and (lost := _due(store, cell, data) - seen):
        result.differences.append(f"{len(lost)} examples have no perturbation, example {min(lost)} among them")
    if pictures and isinstance(targets[cell["source"]], Target):
        result.differences.append(f"example {min(pictures)}: a picture of what is not among the first perturbations")
    for key in keys:
        target = targets[key]
        if isinstance(target, Target):
            left = [f"example {example} on {target.label}: stored, but no perturbation is" for example in stored[key]]
            result.differences += left


def _wrong_examples(store: Store, cell: Mapping[str, Any], data: Data) -> str:
    """The examples are the first ones of the data set, not some that somebody chose."""
    right = data.judge[: cell["count"]]
    if right.fingerprint == cell["examples"] and store.examples(cell["examples"]) == right.ids.tolist():
        return ""
    return f"its examples are not the first {cell['count']} of {cell['dataset']}"


def _due(store: Store, cell: Mapping[str, Any], data: Data) -> set[int]:
    """The examples that the cell must have attacked; `least-likely` leaves out some that only its source can tell."""
    ids = set(store.examples(cell["examples"]))
    if cell["goal"].startswith("class="):
        own = data.judge.labels == int(cell["goal"].removeprefix("class="))
        ids -= set(data.judge.ids[own].tolist())
    return ids if cell["goal"] != "least-likely" else set()


def _wrong_aim(cell: Mapping[str, Any], shard: StoredShard, classes: int) -> str:
    """The labels aimed at, recomputed: away from the true one, at one class, or at one drawn by the cell's seed."""
    aimed, true, goal = shard.goal.labels.cpu(), shard.examples.labels.long(), cell["goal"]
    if goal == "least-likely":
        wrong = bool((aimed == true).any())
    else:
        draws = Draws(cell["seed"], f"goal/{goal}", shard.examples.ids)
        right, applies = choose_labels(goal, true, true, classes, draws)
        wrong = not torch.equal(aimed, right) or not bool(applies.all())
    return f"shard {shard.number}: the labels aimed at are not those that the goal asks for" if wrong else ""


def _difference(verdict: Verdict, goal_label: int, stored: Mapping[str, Any], exact: bool) -> str:
    """In words, where a fresh verdict and the stored one part; empty when they agree.

    Of a randomised target whose draws can't be repeated, only what does not depend on them can be held against it.
    """
    if goal_label != stored["goal_label"]:
        return f"the goal is {goal_label}, stored {stored['goal_label']}"
    if verdict.violation != stored["violation"]:
        return f"violation {verdict.violation!r}, stored {stored['violation']!r}"
    if abs(verdict.size - stored["size"]) > SIZE * max(1.0, verdict.size):
        return f"size {verdict.size:.6g}, stored {stored['size']:.6g}"
    if not exact:
        return ""
    if verdict.predicted != stored["predicted"]:
        return f"predicted {verdict.predicted}, stored {stored['predicted']}"
    if int(verdict.reached) != stored["reached"]:
        return f"reached {verdict.reached}, stored {bool(stored['reached'])}"
    if not _near(verdict.confidence, stored["confidence"]):
        return f"confidence {verdict.confidence:.4f}, stored {stored['confidence']:.4f}"
    if not _near(verdict.suspicion, stored["suspicion"]):
        return f"suspicion {verdict.suspicion}, stored {stored['suspicion']}"
    return ""


def _near(fresh: float | None, stored: float | None) -> bool:
    if fresh is not None and not math.isfinite(fresh):  # SQLite keeps no NaN: it comes back as NULL
        return stored is None or stored == fresh
    if fresh is None or stored is None:
        return fresh is stored
    return abs(fresh - stored) <= CONFIDENCE * max(1.0, abs(fresh))
