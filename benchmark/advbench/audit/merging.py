"""Cells of another database join this one, once their stored perturbations have been refereed here.

What keeps them out, in this order:
- the file: not a database of advbench, other triggers or views, too large (`store/incoming`, `store/scrutiny`);
- a row of another form (`store/records`), or that contradicts what it was made of (`audit/claims`);
- perturbations that the referee judges otherwise (`audit/refereeing`), or crafted again with another outcome
  (`audit/recrafting`), which keeps the whole database out;
- a conflict: the same cell is here with other facts (`store/joining`).
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from advbench.audit.recrafting import Recrafted, Recrafting, craft_again, lots
from advbench.audit.refereeing import Verified
from advbench.audit.verification import Verifier
from advbench.data import DataFolders
from advbench.errors import one_line, printable
from advbench.plugins.foreign import no_exit, spare_others
from advbench.plugins.registry import Registry
from advbench.run.hardware import describe_hardware, describe_versions
from advbench.run.part import Chosen
from advbench.run.publication import withheld
from advbench.run.ready import doubts
from advbench.run.session import Settings
from advbench.store import Store, marks
from advbench.store.conflicts import ConflictError
from advbench.store.incoming import RefusedError, harmless_rows
from advbench.store.joining import IN_ORDER, Joining
from advbench.store.records import wrong
from advbench.store.rows import BoardRow, CellRow


@dataclass(frozen=True)
class Checking:
    """How much of what comes in is refereed again."""

    registry: Registry
    folders: DataFolders
    device: torch.device
    sample: int | None = None
    """So many cells, drawn by chance; None for all of them, 0 for none."""
    recrafting: Recrafting = field(default_factory=Recrafting)
    parts: bool = False
    """Whether cells come in of which only some shards are there, as parts of one's own run have them.

    A stranger's would decide how the cell is cut, and what somebody else's run goes on with.
    """


@dataclass
class Arrival:
    """A cell that comes from another database, and what became of it."""

    cell: str
    label: str
    status: str
    """`due` before anything is decided. In the end `taken`, `there`, `unfinished`, `conflict` or `rejected`. Beside
    these, for a cell that was crafted again: `crafted`, `differs`, or `left` where time was lacking."""
    outcomes: int = 0
    reasons: list[str] = field(default_factory=list)
    refereed: bool = False
    crafted: Recrafted | None = None
    """What came of crafting it again; None where nobody tried."""
    words: str = ""
    """The same, as it is kept."""
    withheld: str = ""
    """Why its perturbations and pictures stayed behind; empty where they came, too."""

    @property
    def refused(self) -> bool:
        return self.status in ("conflict", "rejected")


def merge(into: Store, other: Store, name: str, checking: Checking, *, boards: bool = True) -> Iterator[Arrival]:
    """Every cell of the `other` database, called `name`, one transaction each; nothing that is here is changed.

    A sample that does not hold refuses everything that was not looked at itself.
    """
    with other.snapshot():
        cells = other.read(CellRow, IN_ORDER)
        verifier = Verifier(other, checking.registry, checking.folders, checking.device)
        merging = _Merging(Joining(into, other, printable(name)[:200]), verifier, checking)
        theirs, unsound = _boards(other, verifier) if boards else ([], [])
        ranking = [*into.boards(), *theirs]
        due, whole = [], True
        for cell in cells:
            arrival = merging.before(cell)
            if arrival.status == "due":
                due.append((cell, arrival))
            else:
                whole &= not arrival.refused
                yield arrival
        keys = [cell.key for cell, _ in due]
        looked = {} if checking.sample is None else merging.sample(due, _choose(keys, checking.sample))
        doubtful = next((arrival.cell for _, arrival in due if arrival.status == "rejected"), "")
        suspected = ""
        for tried in merging.recraft(due, looked, checking, ranking):
            yield tried
            suspected = suspected or _suspicion(tried)
        for cell, arrival in due:
            if arrival.status == "due" and suspected:
                arrival.status, arrival.reasons = "rejected", [suspected]
            if arrival.status == "due":
                result = looked.get(cell.key)
                if result is None and checking.sample is None:
                    result = merging.referee(cell, arrival)
                elif result is None and doubtful:
                    arrival.status = "rejected"
                    arrival.reasons = [f"not refereed, and {doubtful[:12]} of the same database did not hold"]
            if arrival.status == "due":
                merging.join(cell, arrival, result)
            whole &= not arrival.refused
            yield arrival
        _join_boards(into, theirs)
        yield from unsound
        if checking.parts:
            yield from merging.parts(whole)


def _suspicion(tried: Arrival) -> str:
    """Why the whole database stays out, because this cell was crafted again and differs; empty where it doesn't."""
    return f"{tried.cell[:12]} of the same database {tried.reasons[0]}" if tried.status == "differs" else ""


def _choose(keys: list[str], count: int) -> frozenset[str]:
    """The keys of the cells to referee, drawn from the system's randomness, so that nobody can know them beforehand."""
    return frozenset(random.SystemRandom().sample(keys, min(count, len(keys))))


@dataclass(frozen=True)
class _Merging:
    """Takes cells in, or says why not."""

    joining: Joining
    verifier: Verifier
    checking: Checking

    def before(self, cell: CellRow) -> Arrival:
        """What can be said of a cell before it is refereed; `due` where it may come in."""
        arrival = Arrival(printable(str(cell.key)), printable(f"{cell.attack} in {cell.family}"), "due")
        with _refusing(arrival):
            ended = self.joining.ended(cell.key)
            if ended is None:
                arrival.status = "unfinished"
            elif self.joining.is_there(cell.key):
                arrival.status = "there"
            elif ended == "in parts" and not self.checking.parts:
                arrival.status = "unfinished"
                arrival.reasons = ["only some of its shards are there; --parts takes parts of a run of your own"]
            elif wrong := self.verifier.contradictions(cell):
                arrival.status, arrival.reasons = "rejected", [printable(text) for text in wrong]
        return arrival

    def sample(self, due: list[tuple[CellRow, Arrival]], chosen: frozenset[str]) -> dict[str, Verified]:
        """Referee the chosen cells, before anything joins, and return the results of those that hold."""
        results = {cell.key: self.referee(cell, arrival) for cell, arrival in due if cell.key in chosen}
        return {key: result for key, result in results.items() if result}

    def recraft(
        self,
        due: list[tuple[CellRow, Arrival]],
        looked: dict[str, Verified],
        checking: Checking,
        boards: Sequence[BoardRow],
    ) -> Iterator[Arrival]:
        """Cells of the entry crafted again, until so many were; `differs` is the status of one that ends it for all.

        Only of cells that hold when they are refereed, which `looked` remembers: an altered one proves nothing. Where a
        sample is refereed, of that alone.
        """
        origin, left = self.joining.origin, checking.recrafting.count
        if left == 0 or checking.sample == 0:
            return
        arrivals = {cell.key: arrival for cell, arrival in due if arrival.status == "due"}
        ended = self.joining.ended
        done = [cell for cell, _ in due if cell.key in arrivals and ended(cell.key) in ("done", "in parts")]
        if checking.sample is not None:
            done = [cell for cell in done if cell.key in looked]
        settings = Settings(device=self.checking.device, folders=checking.folders, command="advbench merge")
        here = {board.key for board in self.joining.into.boards()}
        draws = list(lots(origin, done, boards, here, everything=left is not None))
        drawn: set[str] = set()
        end = time.monotonic() + checking.recrafting.longest
        for number, lot in enumerate(draws):
            if left is not None and len(drawn) >= left:
                return
            if left is None and time.monotonic() > end:
                words = "it took too long; `--reproduce` with a number gives it the time that it needs"
                yield Arrival("", f"{len(draws) - number} of {len(draws)} draws", "left", reasons=[words])
                return
            there = (one for one in lot.cells if lot.deciding or one.key not in drawn)
            cell = next((one for one in there if self._holds(one, looked, arrivals[one.key])), None)
            if cell is None or cell.key in drawn:
                continue
            drawn.add(cell.key)
            arrival = arrivals[cell.key]
            exact = self.verifier.answers[cell.source].target.repeats
            shards = None if ended(cell.key) == "done" else frozenset(origin.shards(cell.key))
            some = settings if shards is None else replace(settings, share=Chosen(shards))
            again = craft_again(origin, checking.registry, cell, some, checking.recrafting.patience, exact=exact)
            words = printable(again.words if shards is None else f"of {len(shards)} of its shards: {again.words}")
            if again.failed:
                arrival.status, arrival.reasons = "rejected", [words]
            else:
                arrival.crafted, arrival.words = again, words
                words = f"came out differently when it was crafted again: {words}" if again.differs else words
                yield Arrival(arrival.cell, arrival.label, "differs" if again.differs else "crafted", reasons=[words])

    def _holds(self, cell: CellRow, looked: dict[str, Verified], arrival: Arrival) -> bool:
        """Whether a cell is what it says, which is found out where nobody knows yet."""
        if cell.key not in looked and arrival.status == "due" and (result := self.referee(cell, arrival)):
            looked[cell.key] = result
        return cell.key in looked

    def referee(self, cell: CellRow, arrival: Arrival) -> Verified | None:
        """What was found of a cell that holds; of another, None and the reasons."""
        try:
            self._refuse_files_elsewhere(cell)
            with no_exit("what it names"):
                results = list(self.verifier.cell(cell))
        except Exception as error:  # whatever a stranger's facts make our code stumble over concerns that cell alone
            arrival.status, arrival.reasons = "rejected", [one_line(error)]
            return None
        result = results[-1]
        arrival.label, arrival.refereed = printable(result.label), True
        arrival.reasons += [*result.differences, *([result.unchecked] if result.unchecked else [])]
        if result.shaken:
            arrival.reasons.append(f"clean answers of {result.shaken} differ")
            arrival.reasons += [f"{one.label}: {text}" for one in results[:-1] for text in one.differences]
        if not arrival.reasons:
            return result
        arrival.status = "rejected"
        return None

    def _refuse_files_elsewhere(self, cell: CellRow) -> None:
        """A target may name a file of weights; a stranger's is read from below this folder, and from nowhere else."""
        judged = {target for target, _ in self.joining.origin.judged(cell.key)}
        for key in sorted({cell.source, *judged}):
            named = self.verifier.rows[key].params["model"].get("weights")
            if named and not (Path(named).is_file() and Path(named).resolve().is_relative_to(Path.cwd().resolve())):
                raise RefusedError(f"its weights are {named!r}, which is no file in the current folder or below")

    def join(self, cell: CellRow, arrival: Arrival, result: Verified | None) -> None:
        with _refusing(arrival):
            into, key = self.joining.into, cell.key
            arrival.withheld = withheld(cell, self.verifier.registry, self.joining.origin, into)
            with into.transaction():
                crafted, whole = arrival.crafted, self.joining.ended(key) != "in parts"
                sound = {} if whole or result is None else self._sound(key)
                arrival.outcomes = self.joining.join(
                    key,
                    refereed=result is not None and (whole or not self._unrefereed(key)),
                    crafted=crafted is not None and crafted.same and whole,
                    crafting=arrival.words or None,
                    bare=bool(arrival.withheld),
                )
                if result:
                    self._mark(key, result, None if whole else sound)
                    self._doubt(result)
            arrival.status = "taken"
            self.joining.settle(cell.key)

    def parts(self, whole: bool) -> Iterator[Arrival]:
        """Which parts of runs are here now, where nothing of them was refused; what stands in their way."""
        arrival = Arrival("", "which part of a run it is", "due")
        if whole:
            with _refusing(arrival):
                self.joining.join_parts()
        if arrival.refused:
            yield arrival

    def _unrefereed(self, cell: str) -> bool:
        """Whether shards of the cell are here that nobody has refereed on their arrival."""
        into = self.joining.into
        imports = into.imports(cell)
        return bool(into.shards(cell)) and not (imports and all(one.refereed for one in imports))

    def _sound(self, cell: str) -> dict[str, bool]:
        """Targets that have judged shards of the cell here, and whether a mark holds for all of these."""
        held = marks.held(self.joining.into, cell)
        return {target: target in held for target, _ in self.joining.into.judged(cell)}

    def _mark(self, cell: str, result: Verified, before: Mapping[str, bool] | None) -> None:
        """Mark the cell as verified on targets that were judged there: what is known here of others was not checked.

        Where only some shards have come, the mark speaks of all that are here: `before` says on which targets a mark
        held for those that were.
        """
        into = self.joining.into
        number = into.id_of("cells", cell)
        here = marks.facts_of(into, [number]).get(number, {})
        facts = {target: checksum for target, checksum in here.items() if target in result.facts}
        if before is not None:
            facts = {target: checksum for target, checksum in facts.items() if before.get(target, True)}
        if facts:
            marks.add(
                into,
                cell,
                facts,
                sound=True,
                versions=describe_versions(),
                hardware=describe_hardware(self.checking.device),
            )

    def _doubt(self, result: Verified) -> None:
        """What this machine itself has seen of the targets; nobody else's words about them are taken."""
        for key in result.facts:
            if key in self.verifier.answers:
                for kind, reason in doubts(self.verifier.answers[key]):
                    self.joining.into.add_note(key, kind, reason)


@contextmanager
def _refusing(arrival: Arrival) -> Iterator[None]:
    """A stranger's mistake concerns one cell; our own disk or another process's lock ends everything."""
    with spare_others(arrival.label, (ConflictError, RefusedError)) as failure:
        yield
    if failure.happened:
        arrival.status = "conflict" if failure.of(ConflictError) else "rejected"
        arrival.reasons.append(failure.reason)


def _boards(origin: Store, verifier: Verifier) -> tuple[list[BoardRow], list[Arrival]]:
    """The entry's boards, and those that are not what they say."""
    sound, unsound = [], []
    for row in harmless_rows(origin, "SELECT * FROM boards ORDER BY key"):
        if problem := wrong("boards", row):
            reasons = [problem]
        else:
            board = BoardRow(**row)
            reasons = verifier.wrong_board(board)
        if reasons:
            key, name = printable(str(row["key"])), printable(str(row["name"]))
            unsound.append(Arrival(key, f"the board {name}", "rejected", reasons=[printable(one) for one in reasons]))
        else:
            sound.append(board)
    return sound, unsound


def _join_boards(into: Store, boards: Iterable[BoardRow]) -> None:
    """Take in the boards on which cells of this database stand."""
    here = into.cells()
    for board in boards:
        if any(cell.place == board.place and cell.eps in (board.eps, None) for cell in here):
            into.add_board(board)
