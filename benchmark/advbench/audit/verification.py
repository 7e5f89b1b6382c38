"""Refereeing stored perturbations from scratch, and holding the verdicts against the stored ones."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, replace

import torch

from advbench.audit.agreement import Agreement, other_proofs
from advbench.audit.claims import (
    Known,
    other_examples,
    unproved_cell,
    wrong_board,
    wrong_cell,
    wrong_dataset,
    wrong_target,
)
from advbench.audit.first_protocol import first_target
from advbench.audit.refereeing import Refereeing, Verified
from advbench.data import Data, DataFolders
from advbench.engines.alarm import stopped_after
from advbench.errors import AdvbenchError, TimeUpError, one_line
from advbench.plugin import Dataset
from advbench.plugins import data_intake
from advbench.plugins.foreign import attributed, no_exit
from advbench.plugins.registry import Registry
from advbench.protocol import FIRST, SECOND
from advbench.recipe import Recipe
from advbench.run.boards import judged_examples
from advbench.run.ready import Ready, certificate_rows, clean_rows, find_target, stored_plan
from advbench.run.stored import UnknownPartError, crafted_in, dataset_named, refuse_others
from advbench.store import Store, marks
from advbench.store.rows import BallRow, BoardRow, CellRow, TargetRow
from advbench.target.clean import clean_pass
from advbench.target.target import Target

PATIENCE = 3600.0
"""Seconds for one target to be made ready, to answer all clean images, or to judge one cell."""


def verify(
    store: Store,
    registry: Registry,
    cells: list[CellRow],
    *,
    folders: DataFolders,
    device: torch.device,
    patience: float = PATIENCE,
) -> Iterator[Verified]:
    """Hold every board against its parameters, then the cells against theirs, and referee what they stored.

    The targets are asked again about the clean images, and judge the stored perturbations once more.
    """
    verifier = Verifier(store, registry, folders, device, patience)
    yield from verifier.boards()
    for cell in cells:
        yield from verifier.cell(cell)


@dataclass(frozen=True)
class _Place:
    position: int
    example: int


class Verifier:
    """Referees cells again, and each target's clean answers before the first cell that was judged on it."""

    def __init__(
        self, store: Store, registry: Registry, folders: DataFolders, device: torch.device, patience: float = PATIENCE
    ) -> None:
        self.store, self.registry, self.folders, self.device = store, registry, folders, device
        self.patience = patience
        self.datasets: dict[str, Known | str] = {}
        self.loaded: dict[Dataset, Data | str] = {}
        self.targets: dict[str, Target | str] = {}
        self.clean: dict[str, Verified] = {}
        """Results by target key, where there are answers to check."""
        self.answers: dict[str, Ready] = {}
        """Answers here to the clean images that are stored, by target key."""
        self.rows = {row.key: row for row in store.targets()}
        self.draws = store.draws()
        """The seeds of examples that were drawn, by fingerprint."""
        self._examined: dict[tuple[str | int, ...], list[str]] = {}
        self.protocols: dict[str, int] = {}
        """Protocols by target key: that of the cell that asked for it first, by whose rules it answers."""

    def boards(self) -> Iterator[Verified]:
        """Whether every board says what its parameters do; nothing where all of them do."""
        for board in self.store.boards():
            result = Verified("", f"the board {board.name}", noun="")
            try:
                result.differences += self._wrong_board(board)
            except UnknownPartError as error:
                result.unchecked = str(error)
            if isinstance(known := self.known(board), str) and not result.differences:
                result.unchecked = result.unchecked or known
            yield result

    def wrong_board(self, board: BoardRow) -> list[str]:
        """What a board says and its parameters don't, or that its ball is not here to say it."""
        try:
            return self._wrong_board(board)
        except UnknownPartError as error:
            return [one_line(error)]

    def _wrong_board(self, board: BoardRow) -> list[str]:
        known = self.known(board)
        try:
            return wrong_board(board, self.registry, None if isinstance(known, str) else known, self._drawn(board))
        except UnknownPartError:
            raise
        except Exception as error:  # parameters that its ball does not have, or that are none at all
            return [one_line(error)]

    def _drawn(self, row: BallRow) -> int | None:
        return self.draws.get(row.examples)

    def known(self, row: BallRow) -> Known | str:
        """The data set of a cell or a board, or why it is not here."""
        fingerprint = row.data_fingerprint
        if fingerprint not in self.datasets:
            try:
                self.datasets[fingerprint] = self._dataset(row.dataset, fingerprint)
            except AdvbenchError as error:
                self.datasets[fingerprint] = str(error)
        return self.datasets[fingerprint]

    def _dataset(self, label: str, fingerprint: str) -> Known:
        """Read once, however many fingerprints a file says that its images have."""
        dataset = dataset_named(self.registry, label)
        if dataset not in self.loaded:
            try:
                self.loaded[dataset] = data_intake.load(dataset, self.folders)
            except AdvbenchError as error:
                self.loaded[dataset] = str(error)
        if isinstance(data := self.loaded[dataset], str):
            raise AdvbenchError(data)
        refuse_others(label, data, fingerprint)
        return dataset, data

    def contradictions(self, cell: CellRow) -> list[str]:
        """Where a cell, its data set and its targets say other things than their parameters: seen without asking.

        What can't be derived, because a plugin or a data set is not here, contradicts nothing.
        """
        if cell.source not in self.rows:
            return ["nothing is said of its target"]
        known_or_reason = self.known(cell)
        known = None if isinstance(known_or_reason, str) else known_or_reason
        wrong = []
        with suppress(UnknownPartError):
            wrong += self._wrong_cell(cell, known)
        wrong += self._wrong_data(cell, known)
        for key in self._judges(cell):
            label = self.rows[key].label
            wrong += [f"{label}: {text}" for text in self._wrong_target(key, cell, known)]
        return wrong

    def cell(self, cell: CellRow) -> Iterator[Verified]:
        """Referee a cell and the targets that it was judged on; yields a result for each, the cell's own last."""
        there = self.rows.get(cell.source)
        source = there.label if there else "a target that is not there"
        result = Verified(cell.key, f"{cell.attack} in {cell.family} on {source}")
        try:
            yield from self._referee(cell, result)
        except AdvbenchError as error:
            result.differences.append(str(error))
        except Exception as error:  # whatever stored facts make our code stumble over concerns this cell alone
            result.differences.append(f"it can't be refereed: {one_line(error)}")
        yield result

    def _referee(self, cell: CellRow, result: Verified) -> Iterator[Verified]:
        """What became of clean answers that were not asked for before; the rest goes into the cell's result."""
        if cell.source not in self.rows:
            result.differences.append("nothing is said of its target")
            return
        number = self.store.id_of("cells", cell.key)
        result.facts = marks.facts_of(self.store, [number]).get(number, {})
        known = self.known(cell)
        if isinstance(known, str):
            result.unchecked = known
            return
        unproved: list[str] = []
        try:
            threat = crafted_in(cell, self.registry)
        except UnknownPartError as error:  # and so nobody here can say how large its perturbations are
            result.unchecked = str(error)
            return
        try:
            result.differences += self._wrong_cell(cell, known)
            if not result.differences:
                unproved = unproved_cell(cell, self.registry, known, self._drawn(cell))
        except UnknownPartError as error:
            result.unchecked = str(error)
        result.differences += self._wrong_data(cell, known)
        keys = self._judges(cell)
        for key in keys:
            if self.protocols.setdefault(key, cell.protocol) != cell.protocol:
                result.differences.append(f"{self.rows[key].label} also stands in cells of another protocol")
            if key not in self.targets:
                self.targets[key] = self._target(key, cell, known)
                if isinstance(target := self.targets[key], Target):
                    try:
                        with self._in_time(target.label), attributed(f"{target.label}: it failed when it was asked"):
                            self._ask(key, target, known[1])
                    except TimeUpError as error:
                        self.targets[key] = self.clean[key].unchecked = str(error)
                    except AdvbenchError as error:
                        self.targets[key] = one_line(error)
                        self.clean[key].differences.append(f"they can't be refereed: {error}")
                if key in self.clean:
                    yield self.clean[key]
        result.shaken = ", ".join(self.rows[k].label for k in keys if k in self.clean and not self.clean[k].sound)
        if not result.differences and not result.unchecked:
            try:
                with self._in_time("its targets"):
                    Refereeing(self.store, cell, threat, known, self.targets, self.answers, self.device, result).run()
            except TimeUpError as error:
                result.unchecked = str(error)
            result.unchecked = "; ".join(filter(None, [*unproved, result.unchecked]))

    def _in_time(self, who: str) -> AbstractContextManager[None]:
        """A stranger's target may ask itself any number of times; asking it comes to an end."""
        return stopped_after(
            self.patience, f"{who}: no answers within {self.patience:g} s; `verify --timeout` gives more"
        )

    def _judges(self, cell: CellRow) -> list[str]:
        """The keys of a cell's targets: its source, and all that judged it."""
        return sorted({cell.source, *(target for target, _ in self.store.judged(cell.key))})

    def _wrong_cell(self, cell: CellRow, known: Known | None) -> list[str]:
        try:
            return wrong_cell(cell, self.registry, known, self._drawn(cell))
        except UnknownPartError:
            raise
        except Exception as error:  # parameters that its attack or its ball does not have, or that are none at all
            return [one_line(error)]

    def _wrong_data(self, cell: CellRow, known: Known | None) -> list[str]:
        """What is said of a cell's data set and its examples beside the cell; the same for all cells on them."""
        place = (cell.dataset, cell.data_fingerprint, cell.examples, cell.count)
        if place not in self._examined:
            self._examined[place] = self._examine_data(cell, known)
        return self._examined[place]

    def _examine_data(self, cell: CellRow, known: Known | None) -> list[str]:
        row = self.store.datasets().get(cell.data_fingerprint)
        if row is None:
            return [f"nothing is said of its data set {cell.dataset}"]
        if known is None:
            return []
        wrong = [f"the data set: {text}" for text in wrong_dataset(row, known)]
        sql = "SELECT position, example FROM example_sets WHERE fingerprint = ? ORDER BY position"
        listed = [(row.position, row.example) for row in self.store.read(_Place, sql, cell.examples)]
        if not wrong and listed != list(enumerate(self._due(cell, known))):
            wrong.append(other_examples(cell, self._drawn(cell)))
        return wrong

    def _due(self, cell: CellRow, known: Known) -> list[int]:
        """The ids of the examples that a cell of its count is judged on."""
        dataset, data = known
        count = max(1, min(cell.count, len(data.judge)))
        ids: list[int] = judged_examples(data, count, dataset, self._drawn(cell)).ids.tolist()
        return ids

    def _wrong_target(self, key: str, cell: CellRow, known: Known | None) -> list[str]:
        """What a target's row says and its parts don't, as far as they are installed; asked once."""
        place = (key, cell.dataset, cell.data_fingerprint, cell.protocol)
        if place not in self._examined:
            self._examined[place] = self._examine_target(key, cell, known)
        return self._examined[place]

    def _examine_target(self, key: str, cell: CellRow, known: Known | None) -> list[str]:
        row = self.rows[key]
        try:
            dataset = known[0] if known else self.registry.dataset(cell.dataset)
            plan = stored_plan(row, dataset, self.registry)
        except AdvbenchError:
            return []
        except Exception as error:
            return [f"its parameters are not those of a target: {one_line(error)}"]
        return wrong_target(row, plan, known[1].calibrate.fingerprint if known else None, cell.protocol)

    def _target(self, key: str, cell: CellRow, known: Known) -> Target | str:
        """The stored target rebuilt, or why it can't be; what its row says otherwise stands with its clean answers."""
        row = self.rows[key]
        result = Verified("", f"clean answers of {row.label}", "answers")
        if wrong := self._wrong_target(key, cell, known):
            result.differences = wrong
            self.clean[key] = result
            return f"{row.label}: {wrong[0]}"
        try:
            with self._in_time(row.label), no_exit(row.label):
                plan = stored_plan(row, known[0], self.registry)
                target, fresh = find_target(row, plan, known[1], device=self.device)
                if cell.protocol == FIRST:
                    target, fresh = first_target(target, fresh, row)
                elif cell.protocol == SECOND:  # its key has been held against its parts already
                    target.key, fresh = row.key, replace(fresh, key=row.key)
        except Exception as error:  # a plugin that has changed since may fail in any way
            return f"{row.label}: {one_line(error)}"
        result.differences += _other_target(row, fresh, target)
        self.clean[key] = result
        return target

    def _ask(self, key: str, target: Target, data: Data) -> None:
        """Ask the target about the clean images again and compare: rates count only what was right before."""
        result, stored = self.clean[key], self.store.clean(key)
        ids = data.judge.ids.tolist()
        if strangers := stored.keys() - set(ids):
            result.differences.append(f"example {min(strangers)} is not in the data set")
        places = torch.tensor([place for place, example in enumerate(ids) if example in stored], dtype=torch.int64)
        examples = data.judge[places]
        self.answers[key] = ready = Ready(target, clean_pass(target, examples, self.device, places), examples, places)
        agreement = Agreement.of(ready)
        threshold = self.rows[key].threshold
        if not agreement.alike("suspicion", target.threshold, threshold):
            result.differences.append(f"the detector's threshold is {target.threshold}, stored {threshold}")
        exact = target.repeats or not self.rows[key].randomised
        result.outcomes = len(examples) if exact else 0
        result.differences += agreement.other_answers(clean_rows(ready), stored, exact)
        result.differences += other_proofs(certificate_rows(ready), self.store.certificates(key))


def _other_target(row: TargetRow, fresh: TargetRow, target: Target) -> list[str]:
    """Where a target's row is not that of the target rebuilt here."""
    wrong = []
    if row.randomised != fresh.randomised:
        wrong.append(f"it answers {'' if target.draws > 1 else 'not '}by chance, stored otherwise")
    if row.recipe != fresh.recipe and not (row.recipe and {**Recipe().params(), **row.recipe} == fresh.recipe):
        wrong.append("it was trained by another recipe than is stored")
    for name in ("draws", "data_fingerprint", "false_positive_rate", "key"):
        here, there = getattr(fresh, name), getattr(row, name)
        if here != there and not wrong:
            wrong.append(f"its {name.replace('_', ' ')} is {here}, stored {there}")
    return wrong
