"""Refereeing stored perturbations from scratch, and holding the verdicts against the stored ones."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import torch

from advbench.audit.aims import Aims
from advbench.data import Data, DataFolders
from advbench.errors import AdvbenchError, one_line
from advbench.plugins.foreign import contained, told
from advbench.plugins.registry import Registry
from advbench.recipe import Recipe
from advbench.run.derivation import Known, wrong_board, wrong_cell, wrong_dataset, wrong_target
from advbench.run.exhibits import exhibits, shown_of, unlike
from advbench.run.ready import Ready, certificate_rows, clean_rows, find_target, stored_plan
from advbench.run.stored import UnknownPartError, load_dataset, stored_shards, threat_of
from advbench.store import Store, marks
from advbench.target.clean import clean_pass
from advbench.target.referee import Verdict, judge, render
from advbench.target.target import Target
from advbench.threats import Threat

SIZE = 1e-4
"""Sizes are recomputed in float64 from the same numbers; only another order of sums may show, relative to the size."""
CONFIDENCE = 5e-3
"""Another machine's convolutions move logits, and what a detector makes of them, a little."""


@dataclass
class Verified:
    """What became of one cell's outcomes, of one target's clean answers, or of a board."""

    cell: str
    """Its key; empty for clean answers and boards."""
    label: str
    noun: str = "outcomes"
    """What was refereed; empty for a board, where nothing is."""
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
    """Hold every board against its parameters, then the cells against theirs, and referee what they stored.

    The targets are asked again about the clean images, and judge the stored perturbations once more.
    """
    verifier = Verifier(store, registry, folders, device)
    yield from verifier.boards()
    for cell in cells:
        yield from verifier.cell(cell)


class Verifier:
    """Referees cells again, and each target's clean answers before the first cell that was judged on it."""

    def __init__(self, store: Store, registry: Registry, folders: DataFolders, device: torch.device) -> None:
        self.store, self.registry, self.folders, self.device = store, registry, folders, device
        self.datasets: dict[str, Known | str] = {}
        self.targets: dict[str, Target | str] = {}
        self.clean: dict[str, Verified] = {}
        """By target key, where there are answers to check."""
        self.answers: dict[str, Ready] = {}
        """By target key: what it answers here to the clean images that are stored."""
        self.rows = {row["key"]: row for row in store.targets()}

    def boards(self) -> Iterator[Verified]:
        """Whether every board says what its parameters do; nothing where all of them do."""
        for board in self.store.boards():
            result = Verified("", f"the board {board['name']}", noun="")
            try:
                result.differences += self._wrong_board(board)
            except UnknownPartError as error:
                result.unchecked = str(error)
            if isinstance(known := self.known(board), str) and not result.differences:
                result.unchecked = result.unchecked or known
            yield result

    def wrong_board(self, board: Mapping[str, Any]) -> list[str]:
        """What a board says and its parameters don't, or that its ball is not here to say it."""
        try:
            return self._wrong_board(board)
        except UnknownPartError as error:
            return [_said(error)]

    def _wrong_board(self, board: Mapping[str, Any]) -> list[str]:
        known = self.known(board)
        try:
            return wrong_board(board, self.registry, None if isinstance(known, str) else known)
        except UnknownPartError:
            raise
        except Exception as error:  # parameters that its ball does not have, or that are none at all
            return [_said(error)]

    def known(self, row: Mapping[str, Any]) -> Known | str:
        """The data set of a cell or a board, or why it is not here."""
        fingerprint = row["data_fingerprint"]
        if fingerprint not in self.datasets:
            self.datasets[fingerprint] = _dataset(self.registry, self.folders, row["dataset"], fingerprint)
        return self.datasets[fingerprint]

    def contradictions(self, cell: Mapping[str, Any]) -> list[str]:
        """Where a cell, its data set and its targets say other things than their parameters: seen without asking.

        What can't be derived, because a plugin or a data set is not here, contradicts nothing.
        """
        if cell["source"] not in self.rows:
            return ["nothing is said of its target"]
        found = self.known(cell)
        known = None if isinstance(found, str) else found
        wrong = []
        with suppress(UnknownPartError):
            wrong += self._wrong_cell(cell, known)
        wrong += self._wrong_data(cell, known)
        for key in self._judges(cell):
            label = self.rows[key]["label"]
            wrong += [f"{label}: {text}" for text in self._wrong_target(key, cell, known)]
        return wrong

    def cell(self, cell: dict[str, Any]) -> Iterator[Verified]:
        """The cell's result comes last."""
        source = self.rows.get(cell["source"], {}).get("label", "a target that is not there")
        result = Verified(cell["key"], f"{cell['attack']} in {cell['family']} on {source}")
        try:
            yield from self._refereed(cell, result)
        except AdvbenchError as error:
            result.differences.append(str(error))
        except Exception as error:  # whatever stored facts make our code stumble over concerns this cell alone
            result.differences.append(f"it can't be refereed: {one_line(error)}")
        yield result

    def _refereed(self, cell: dict[str, Any], result: Verified) -> Iterator[Verified]:
        """What became of clean answers that were not asked for before; the rest goes into the cell's result."""
        if cell["source"] not in self.rows:
            result.differences.append("nothing is said of its target")
            return
        result.facts = marks.facts_of(self.store, [cell["id"]]).get(cell["id"], {})
        known = self.known(cell)
        if isinstance(known, str):
            result.unchecked = known
            return
        try:
            threat = threat_of(cell, self.registry)
        except UnknownPartError as error:  # and so nobody here can say how large its perturbations are
            result.unchecked = str(error)
            return
        try:
            result.differences += self._wrong_cell(cell, known)
        except UnknownPartError as error:
            result.unchecked = str(error)
        result.differences += self._wrong_data(cell, known)
        keys = self._judges(cell)
        for key in keys:
            if key not in self.targets:
                self.targets[key] = self._target(key, cell, known)
                if isinstance(target := self.targets[key], Target):
                    try:
                        with told(f"{target.label}: it failed when it was asked"):
                            self._ask(key, target, known[1])
                    except AdvbenchError as error:
                        self.targets[key] = one_line(error)
                        self.clean[key].differences.append(f"they can't be refereed: {error}")
                if key in self.clean:
                    yield self.clean[key]
        result.shaken = ", ".join(self.rows[k]["label"] for k in keys if k in self.clean and not self.clean[k].sound)
        if not result.differences and not result.unchecked:
            judged = self.store.judged(cell["key"])
            _verify_cell(self.store, cell, threat, known, self.targets, self.answers, judged, self.device, result)

    def _judges(self, cell: Mapping[str, Any]) -> list[str]:
        """The keys of a cell's targets: its source, and all that judged it."""
        return sorted({cell["source"], *(target for target, _ in self.store.judged(cell["key"]))})

    def _wrong_cell(self, cell: Mapping[str, Any], known: Known | None) -> list[str]:
        try:
            return wrong_cell(cell, self.registry, known)
        except UnknownPartError:
            raise
        except Exception as error:  # parameters that its attack or its ball does not have, or that are none at all
            return [_said(error)]

    def _wrong_data(self, cell: Mapping[str, Any], known: Known | None) -> list[str]:
        """What is said of a cell's data set and its examples beside the cell."""
        rows = self.store.rows("SELECT * FROM datasets WHERE fingerprint = ?", cell["data_fingerprint"])
        if not rows:
            return [f"nothing is said of its data set {cell['dataset']}"]
        if known is None:
            return []
        wrong = [f"the data set: {text}" for text in wrong_dataset(rows[0], known)]
        sql = "SELECT position, example FROM example_sets WHERE fingerprint = ? ORDER BY position"
        listed = [(row["position"], row["example"]) for row in self.store.rows(sql, cell["examples"])]
        if not wrong and listed != list(enumerate(known[1].judge[: cell["count"]].ids.tolist())):
            wrong.append(f"its examples are not the first {cell['count']} of {cell['dataset']}")
        return wrong

    def _wrong_target(self, key: str, cell: Mapping[str, Any], known: Known | None) -> list[str]:
        """What a target's row says and its parts don't, as far as they are installed."""
        row = self.rows[key]
        try:
            dataset = known[0] if known else self.registry.dataset(cell["dataset"])
            plan = stored_plan(row, dataset, self.registry)
        except AdvbenchError:
            return []
        except Exception as error:
            return [f"its parameters are not those of a target: {one_line(error)}"]
        return wrong_target(row, plan, known[1].calibrate.fingerprint if known else None)

    def _target(self, key: str, cell: Mapping[str, Any], known: Known) -> Target | str:
        """The stored target rebuilt, or why it can't be; what its row says otherwise stands with its clean answers."""
        row = self.rows[key]
        result = Verified("", f"clean answers of {row['label']}", "answers")
        if wrong := self._wrong_target(key, cell, known):
            result.differences = wrong
            self.clean[key] = result
            return f"{row['label']}: {wrong[0]}"
        try:
            with contained(row["label"]):
                plan = stored_plan(row, known[0], self.registry)
                target, fresh = find_target(row, plan, known[1], device=self.device)
        except Exception as error:  # a plugin that has changed since may fail in any way
            return f"{row['label']}: {_said(error)}"
        result.differences += _other_target(row, fresh, target)
        self.clean[key] = result
        return target

    def _ask(self, key: str, target: Target, data: Data) -> None:
        """What is right under attack depends on what was right before it."""
        result, stored = self.clean[key], self.store.clean(key)
        ids = data.judge.ids.tolist()
        if strangers := stored.keys() - set(ids):
            result.differences.append(f"example {min(strangers)} is not in the data set")
        places = torch.tensor([place for place, example in enumerate(ids) if example in stored], dtype=torch.int64)
        examples = data.judge[places]
        self.answers[key] = ready = Ready(target, clean_pass(target, examples, self.device, places), examples)
        exact = target.repeats or not self.rows[key]["randomised"]
        result.outcomes = len(examples) if exact else 0
        result.differences += _other_answers(clean_rows(ready), stored, exact)
        result.differences += _other_proofs(certificate_rows(ready), self.store.certificates(key))


def _said(error: Exception) -> str:
    return str(error) if isinstance(error, AdvbenchError) else one_line(error)


def _dataset(registry: Registry, folders: DataFolders, label: str, fingerprint: str) -> Known | str:
    """The data set that was judged, or why it is not here."""
    try:
        return load_dataset(registry, folders, label, fingerprint)
    except AdvbenchError as error:
        return str(error)


def _other_target(row: Mapping[str, Any], fresh: Mapping[str, Any], target: Target) -> list[str]:
    """Where a target's row is not that of the target rebuilt here."""
    wrong = []
    if row["randomised"] != fresh["randomised"]:
        wrong.append(f"it answers {'' if target.draws > 1 else 'not '}by chance, stored otherwise")
    if not _near(fresh["threshold"], row["threshold"]):
        wrong.append(f"the detector's threshold is {fresh['threshold']}, stored {row['threshold']}")
    if row["recipe"] != fresh["recipe"] and not (
        row["recipe"] and {**Recipe().params(), **row["recipe"]} == fresh["recipe"]
    ):
        wrong.append("it was trained by another recipe than is stored")
    for name in ("draws", "data_fingerprint", "false_positive_rate", "key"):
        if row[name] != fresh[name] and not wrong:
            wrong.append(f"its {name.replace('_', ' ')} is {fresh[name]}, stored {row[name]}")
    return wrong


def _other_answers(fresh: list[dict[str, Any]], stored: Mapping[int, Mapping[str, Any]], exact: bool) -> Iterator[str]:
    """Of answers that can't be repeated, only the labels are held against it."""
    told = ("label", "predicted", "confidence", "suspicion") if exact else ("label",)
    for row in fresh:
        found = stored[row["example"]]
        for name in told:
            if row[name] != found[name] if name in ("label", "predicted") else not _near(row[name], found[name]):
                yield f"example {row['example']}: {name} {row[name]}, stored {found[name]}"
                break


def _other_proofs(fresh: list[dict[str, Any]], stored: list[dict[str, Any]]) -> Iterator[str]:
    """Exactly what is proved here is stored: no other family, no other radius, and nothing less."""
    proved = {(row["example"], row["family"]): row for row in fresh}
    for row in stored:
        again = proved.pop((row["example"], row["family"]), None)
        if again is None or again["predicted"] != row["predicted"] or not _near(again["radius"], row["radius"]):
            yield f"example {row['example']}: a radius of {row['radius']:.4g} in {row['family']} is not proved again"
    for example, family in proved:
        yield f"example {example}: what is proved of it in {family} is not stored"


def _verify_cell(
    store: Store,
    cell: dict[str, Any],
    threat: Threat,
    known: Known,
    targets: Mapping[str, Target | str],
    answers: Mapping[str, Ready],
    judged: set[tuple[str, int]],
    device: torch.device,
    result: Verified,
) -> None:
    dataset, data = known
    randomised = {row["key"] for row in store.targets() if row["randomised"]}
    seen: set[int] = set()
    keys = sorted({cell["source"], *(target for target, _ in judged)})
    stored = {key: {row["example"]: row for row in store.outcomes(cell["key"], key)} for key in keys}
    shown_first = shown_of(store.examples(cell["examples"]), dataset.shape)
    pictures = {row["example"]: row for row in store.exhibits(cell["key"])}
    shown = frozenset(pictures)
    result.unchecked = "; ".join(str(targets[key]) for key in keys if isinstance(targets[key], str))
    result.differences += _wrong_shards(store, cell, judged)
    for key in keys:
        if key in answers and (
            silent := set(store.examples(cell["examples"])) - set(answers[key].examples.ids.tolist())
        ):
            label = answers[key].target.label
            result.differences.append(
                f"{len(silent)} examples have no clean answer of {label}, {min(silent)} among them"
            )
    aims = Aims.of(cell, known, answers.get(cell["source"]), device)
    try:
        for shard in stored_shards(store, cell, threat, data.judge, device):
            rendered = render(threat, shard.x, shard.p)
            seen.update(shard.examples.ids.tolist())
            if aims and (wrong := aims.wrong(shard.examples.ids.tolist(), shard.goal.labels.tolist())):
                result.differences.append(f"shard {shard.number}: {wrong}")
            if isinstance(source := targets[cell["source"]], Target):
                ids = shard.examples.ids
                due = shown & shown_first & set(ids.tolist())
                for fresh in exhibits(source, threat, shard.x, shard.p, rendered.images, ids, due):
                    kept = pictures.pop(fresh["example"])
                    if source.draws > 1 and fresh["redrawn"] is not None and kept["redrawn"] is not None:
                        fresh["redrawn"] = kept["redrawn"]  # drawn by chance
                    if wrong := unlike(fresh, kept, dataset.shape):
                        result.differences.append(f"example {fresh['example']}: {wrong}")
            for key in keys:
                target = targets[key]
                if isinstance(target, str) or (key, shard.number) not in judged:
                    continue
                verdicts = judge(target, rendered, shard.goal, shard.places)
                rows = zip(shard.examples.ids.tolist(), shard.goal.labels.tolist(), verdicts, strict=True)
                for example, goal_label, verdict in rows:
                    result.outcomes += 1
                    found = stored[key].pop(example, None)
                    exact = key not in randomised or target.repeats
                    difference = "is not stored" if found is None else _difference(verdict, goal_label, found, exact)
                    if difference:
                        result.differences.append(f"example {example} on {target.label}: {difference}")
    except Exception as error:  # a missing or damaged artifact, or a target that fails, concerns this cell alone
        result.differences.append(str(error) if isinstance(error, AdvbenchError) else one_line(error))
        return
    if store.cell_status(cell["key"]) == "done" and aims and (lost := aims.missing(seen)):
        result.differences.append(f"{len(lost)} examples have no perturbation, example {min(lost)} among them")
    shows = bool(shown) or cell["content"] is not None  # a cell may be older than pictures
    if shows and (hidden := (shown_first & seen) - shown):
        result.differences.append(f"example {min(hidden)}: no picture of it is stored")
    if pictures and isinstance(targets[cell["source"]], Target):
        result.differences.append(f"example {min(pictures)}: a picture of what is not among the first perturbations")
    for key in keys:
        target = targets[key]
        if isinstance(target, Target):
            left = [f"example {example} on {target.label}: stored, but no perturbation is" for example in stored[key]]
            result.differences += left


def _wrong_shards(store: Store, cell: Mapping[str, Any], judged: set[tuple[str, int]]) -> list[str]:
    """Shards of a cell that is done cover its examples, one after the other, and its source has judged all of them."""
    shards = [row for _, row in sorted(store.shards(cell["key"]).items())]
    if store.cell_status(cell["key"]) != "done":
        return []
    size = shards[0]["count"] if shards else 0
    spans = [
        (number, first, min(size, cell["count"] - first))
        for number, first in enumerate(range(0, cell["count"], size or 1))
    ]
    if not size or [(row["shard"], row["first"], row["count"]) for row in shards] != spans:
        return [f"its shards do not cover its {cell['count']} examples one after the other"]
    unjudged = [row["shard"] for row in shards if (cell["source"], row["shard"]) not in judged]
    return [f"shard {unjudged[0]} was not judged on its own target"] if unjudged else []


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
    if not _near(verdict.excess, stored["excess"]):
        return f"excess {verdict.excess}, stored {stored['excess']}"
    if stored["tolerance"] is not None and not math.isclose(verdict.tolerance, stored["tolerance"], rel_tol=SIZE):
        return f"tolerance {verdict.tolerance}, stored {stored['tolerance']}"
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
