"""Cells of another database join this one, once their stored perturbations have been refereed here."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from advbench.data import DataFolders
from advbench.errors import AdvbenchError, describe
from advbench.foreign import plain
from advbench.hardware import describe_hardware, describe_versions
from advbench.registry import Registry
from advbench.store import Store, marks
from advbench.store.incoming import RefusedError, said
from advbench.store.joining import ConflictError, Joining
from advbench.store.records import wrong
from advbench.target import content_key
from advbench.verification import Verified, Verifier


@dataclass(frozen=True)
class Checking:
    """How much of what comes in is refereed again."""

    registry: Registry
    folders: DataFolders
    device: torch.device
    sample: int | None = None
    """So many cells, drawn by chance; None for all of them, 0 for none."""


@dataclass
class Arrival:
    """What became of one cell."""

    cell: str
    label: str
    status: str
    """`taken`, `there`, `unfinished`, `conflict` or `rejected`."""
    outcomes: int = 0
    reasons: list[str] = field(default_factory=list)
    refereed: bool = False

    @property
    def refused(self) -> bool:
        return self.status in ("conflict", "rejected")


def merge(into: Store, origin: Store, source: str, checking: Checking, *, boards: bool = True) -> Iterator[Arrival]:
    """Every cell of `origin`, one transaction each; nothing that is here already is changed or replaced.

    A sample that does not hold refuses everything that was not looked at itself.
    """
    with origin.snapshot():
        cells = origin.rows("""
            SELECT c.* FROM cells c LEFT JOIN (SELECT cell, max(id) AS last FROM cell_events GROUP BY cell) e
              ON e.cell = c.id ORDER BY e.last, c.id
        """)
        verifier = Verifier(origin, checking.registry, checking.folders, checking.device)
        merging = _Merging(Joining(into, origin, plain(source)[:200]), verifier, checking.device)
        due = []
        for cell in cells:
            arrival = merging.before(cell)
            if arrival.status == "due":
                due.append((cell, arrival))
            else:
                yield arrival
        keys = [cell["key"] for cell, _ in due]
        looked = merging.sample(due, _chosen(keys, checking.sample)) if checking.sample is not None else None
        doubtful = next((arrival.cell for _, arrival in due if arrival.status == "rejected"), "")
        for cell, arrival in due:
            if arrival.status == "due":
                result = merging.referee(cell, arrival) if looked is None else looked.get(cell["key"])
                if doubtful and result is None and looked is not None:
                    arrival.status = "rejected"
                    arrival.reasons = [f"not refereed, and {doubtful[:12]} of the same database did not hold"]
            if arrival.status == "due":
                merging.join(cell["key"], arrival, result)
            yield arrival
        if boards:
            yield from _join_boards(into, origin)


def _chosen(keys: list[str], count: int) -> frozenset[str]:
    """Nobody can know beforehand which."""
    return frozenset(random.SystemRandom().sample(keys, min(count, len(keys))))


@dataclass(frozen=True)
class _Merging:
    """Takes cells in, or says why not."""

    joining: Joining
    verifier: Verifier
    device: torch.device

    def before(self, cell: Mapping[str, Any]) -> Arrival:
        """What can be said of a cell before it is refereed; `due` where it may come in."""
        arrival = Arrival(plain(str(cell["key"])), plain(f"{cell['attack']} in {cell['family']}"), "due")
        with _refusing(arrival):
            if self.joining.origin.cell_status(cell["key"]) is None:
                arrival.status = "unfinished"
            elif self.joining.is_there(cell["key"]):
                arrival.status = "there"
        return arrival

    def sample(self, due: list[tuple[dict[str, Any], Arrival]], chosen: frozenset[str]) -> dict[str, Verified]:
        """The chosen ones that hold, before anything joins."""
        found = {cell["key"]: self.referee(cell, arrival) for cell, arrival in due if cell["key"] in chosen}
        return {key: result for key, result in found.items() if result}

    def referee(self, cell: dict[str, Any], arrival: Arrival) -> Verified | None:
        """What was found of a cell that holds; of another, None and the reasons."""
        try:
            self._refuse_files_elsewhere(cell)
            found = list(self.verifier.cell(cell))
        except Exception as error:  # whatever a stranger's facts make our code stumble over concerns that cell alone
            arrival.status, arrival.reasons = "rejected", [plain(describe(error))]
            return None
        result = found[-1]
        arrival.label, arrival.refereed = plain(result.label), True
        arrival.reasons += [*result.differences, *([result.unchecked] if result.unchecked else [])]
        if result.shaken:
            arrival.reasons.append(f"clean answers of {result.shaken} differ")
            arrival.reasons += [f"{one.label}: {text}" for one in found[:-1] for text in one.differences]
        if not arrival.reasons:
            return result
        arrival.status = "rejected"
        return None

    def _refuse_files_elsewhere(self, cell: Mapping[str, Any]) -> None:
        """A target may name a file of weights; a stranger's is read from below this folder, and from nowhere else."""
        judged = {target for target, _ in self.joining.origin.judged(cell["key"])}
        for key in sorted({cell["source"], *judged}):
            named = self.verifier.rows[key]["params"]["model"].get("weights")
            if named and not (Path(named).is_file() and Path(named).resolve().is_relative_to(Path.cwd().resolve())):
                raise RefusedError(f"its weights are {named!r}, which is no file in the current folder or below")

    def join(self, cell: str, arrival: Arrival, result: Verified | None) -> None:
        with _refusing(arrival):
            with self.joining.into.transaction():
                arrival.outcomes = self.joining.join(cell, refereed=result is not None)
                if result:
                    self._mark(cell, result)
            arrival.status = "taken"
            self.joining.settle(cell)

    def _mark(self, cell: str, result: Verified) -> None:
        """Of the targets that were judged there: what this database knew of others was not looked at."""
        into = self.joining.into
        number = into.id_of("cells", cell)
        here = marks.facts_of(into, [number]).get(number, {})
        facts = {target: checksum for target, checksum in here.items() if target in result.facts}
        if facts:
            marks.add(
                into, cell, facts, sound=True, versions=describe_versions(), hardware=describe_hardware(self.device)
            )


@contextmanager
def _refusing(arrival: Arrival) -> Iterator[None]:
    """A stranger's mistake concerns one cell; our own disk or another process's lock ends everything."""
    try:
        yield
    except (ConflictError, RefusedError) as error:
        arrival.status = "conflict" if isinstance(error, ConflictError) else "rejected"
        arrival.reasons.append(plain(str(error)))
    except AdvbenchError:
        raise
    except Exception as error:
        arrival.status = "rejected"
        arrival.reasons.append(plain(describe(error)))


def _join_boards(into: Store, origin: Store) -> Iterator[Arrival]:
    """The boards that cells which are here now stand on; yields those whose key is another one's."""
    here = into.rows("SELECT * FROM cells")
    for board in said(origin, "SELECT * FROM boards ORDER BY key"):
        if problem := wrong("boards", board):
            key, name = plain(str(board["key"])), plain(str(board["name"]))
            yield Arrival(key, f"the board {name}", "rejected", reasons=[problem])
            continue
        # a board of before boards had seeds was named without one
        row = {name: v for name, v in board.items() if name != "key" and not (name == "seed" and v is None)}
        place = ("data_fingerprint", "examples", "protocol", "family")
        stands = any(
            all(cell[name] == board[name] for name in place) and cell["eps"] in (board["eps"], None) for cell in here
        )
        if stands and content_key(row) == board["key"]:
            into.add_board(board)
        elif stands:
            reason = "its key is not that of what it says"
            yield Arrival(board["key"], f"the board {board['name']}", "rejected", reasons=[reason])
