"""Boards, and the targets on them in their order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from advbench.protocol import PROTOCOL, suffix
from advbench.rates.aim import aim_of
from advbench.rates.earlier import Earlier
from advbench.rates.evidence import Evidence
from advbench.rates.rates import shared_ranks
from advbench.rates.shipper import shipper_of
from advbench.store import Store
from advbench_leaderboard.facts.cells import Cell, Incoming, Verdicts
from advbench_leaderboard.facts.checks import Import
from advbench_leaderboard.facts.entrants import Dataset, Target, nameless
from advbench_leaderboard.facts.rate import Rate, rate_of
from advbench_leaderboard.facts.skips import Skip
from advbench_leaderboard.text import in_order


@dataclass(frozen=True)
class Remark:
    """A note on a target: stored by the harness, or computed from the facts (`advbench.notes`)."""

    kind: str
    reason: str
    cell: str = ""
    """The cell that it speaks of, where it is one that does not count on the board."""


@dataclass(frozen=True)
class Entry:
    """A target on a board. `rank` is None when `unranked` says why."""

    target: Target
    rank: int | None
    tied: bool
    unranked: str | None
    robust: Rate | None
    clean: Rate
    verdicts: Mapping[str, Verdicts]
    """By entrant."""
    incoming: Incoming | None
    undetected: Verdicts | None
    """Of the attack that gets past the detector most often."""
    false_positives: Rate | None
    certified: Rate | None
    forwards: float
    """Per example, over all cells that count here."""
    backwards: float
    seconds: float
    notes: tuple[Remark, ...]
    elsewhere: tuple[Evidence, ...]
    """What is known of it in this ball and does not count here; the strongest first."""
    verified: bool | None
    """Whether all its cells here were refereed again and found the same; None where nobody has said."""
    arrived: int
    """How many of its cells came by merging."""
    crafted: int
    """How many of these were crafted again on arrival, and came out the same."""
    deciding: Verdicts | None
    """Of the attacks that count, the one that leaves least; None where the robust accuracy is."""

    @property
    def worst(self) -> Verdicts | None:
        """The attack that leaves least."""
        return min(self.verdicts.values(), key=_least, default=None)

    @property
    def beside(self) -> Evidence | None:
        """The strongest on other examples."""
        return next((one for one in self.elsewhere if one.elsewhere), None)


@dataclass(frozen=True)
class Superseded:
    """A target below a board's ranking, since the same network stands in it as another target."""

    target: Target
    standing: Target
    differs: str
    """What it was made with and the other was not."""
    asked: str
    """When its newest cell here ended."""
    clean: Rate
    robust: Rate | None
    unranked: str | None


@dataclass(frozen=True)
class Board:
    """A data set and a threat with its radius."""

    key: str
    name: str
    dataset: Dataset
    ball: str
    """The threat with its radius, as in the board's name."""
    threat: str
    family: str
    shipper: str
    """Who ships the ball and is believed about sizes; empty for the core's own."""
    params: Mapping[str, Any]
    eps: float
    examples: str
    count: int
    protocol: int
    required: tuple[str, ...]
    aim: str
    """What the required attacks want every image to be taken for, in words; empty where they leave it open."""
    entrants: tuple[str, ...]
    """Those that have come out on any target; the one that leaves least, on average, comes first."""
    entries: tuple[Entry, ...]
    """Ranked ones first, the best on top; unranked ones by name."""
    right: Mapping[str, int]
    """By target key a bit an example, in the order of their ids: set where it is right, clean and under all required
    attacks. Only of targets with a robust accuracy."""
    superseded: tuple[Superseded, ...]
    """The last asked first."""
    cores: Mapping[str, int]
    """By digest of the core that made them, empty where no run says it: how many of the cells that count here."""
    failed: tuple[Cell, ...]
    """Cells whose latest attempt failed or has not ended."""
    skipped: tuple[Skip, ...]
    updated: str | None
    """When the newest of its cells ended."""

    @property
    def title(self) -> str:
        """The name, and what it does not say."""
        return f"{self.name}{self._beside}"

    @property
    def aimed_ball(self) -> str:
        return f"{self.ball}{self._beside}"

    @property
    def _beside(self) -> str:
        aim = f", aimed at {self.aim}" if self.aim else ""
        return f"{aim}{suffix(self.protocol)}"

    @property
    def earlier(self) -> bool:
        """Whether it was judged by rules that no longer hold."""
        return self.protocol < PROTOCOL

    @property
    def ranked(self) -> tuple[Entry, ...]:
        return tuple(entry for entry in self.entries if entry.rank is not None)

    @property
    def mixed(self) -> bool:
        """Whether its cells were made with several states of the core."""
        return len(self.cores) > 1

    @property
    def detects(self) -> bool:
        return any(entry.false_positives for entry in self.entries)


@dataclass(frozen=True)
class Gathered:
    """What boards are made of."""

    targets: Mapping[str, Target]
    datasets: Mapping[str, Dataset]
    cells: Mapping[str, Cell]
    verdicts: Mapping[str, Mapping[str, Mapping[str, Verdicts]]]
    incoming: Mapping[tuple[str, str], Incoming]
    skips: tuple[Skip, ...]
    notes: Mapping[tuple[str, str], tuple[Remark, ...]]
    """By board and target."""
    elsewhere: Mapping[tuple[str, str], tuple[Evidence, ...]]
    certified: Mapping[tuple[str, str], Rate]
    verified: Mapping[str, bool]
    """By cell."""
    imports: Mapping[str, Import]
    """By cell, of those that came by merging."""
    earlier: Sequence[Earlier]
    cores: Mapping[str, frozenset[str]]
    """By cell: digests of the core that its shards were made with."""


def boards(store: Store, found: Gathered) -> tuple[Board, ...]:
    clean, robust = _by_board(store.rates("clean_accuracy")), _by_board(store.rates("robust_accuracy"))
    here: dict[str, list[tuple[Cell, bool]]] = {}
    for row in store.rows(
        "SELECT board, cell, latest AND status <> 'done' AS open FROM board_cells WHERE stands ORDER BY board"
    ):
        here.setdefault(row["board"], []).append((found.cells[row["cell"]], bool(row["open"])))
    made = []
    for row in sorted(store.boards(), key=lambda row: in_order(f"{row['dataset']} {row['name']}")):
        key = row["key"]
        placed = here.get(key, [])
        right = {
            target: [verdicts[example] for example in sorted(verdicts)]
            for target, verdicts in store.robust_examples(key).items()
        }
        ranks = _ranks(right, found.targets)
        failed = sorted(
            (cell for cell, is_open in placed if is_open),
            key=lambda cell: (found.targets[cell.source].label, cell.entrant, cell.key),
        )
        verdicts = found.verdicts.get(key, {})
        dataset = found.datasets.get(row["data_fingerprint"]) or nameless(row)
        crowd = Counter(ranks.values())
        entries = [
            _entry(answer, robust[key][answer["target"]], found, ranks, crowd, row["required"])
            for answer in clean.get(key, {}).values()
        ]
        made.append(
            Board(
                key=key,
                name=row["name"],
                dataset=dataset,
                ball=row["name"].removeprefix(f"{row['dataset']}/"),
                threat=row["threat"],
                family=row["family"],
                shipper=shipper_of(row),
                params=row["params"] or {},
                eps=row["eps"],
                examples=row["examples"],
                count=row["count"],
                protocol=row["protocol"],
                required=tuple(row["required"]),
                aim=aim_of(row["required"], dataset.classes),
                entrants=_strongest_first(verdicts.values()),
                entries=tuple(sorted(entries, key=_place)),
                right={target: _bits(verdicts) for target, verdicts in right.items()},
                superseded=tuple(_superseded(one, found.targets) for one in found.earlier if one.board == key),
                cores=_cores(found.cores, verdicts),
                failed=tuple(failed),
                skipped=tuple(skip for skip in found.skips if skip.concerns(row["dataset"], row["name"])),
                updated=max((cell.at for cell, _ in placed if cell.at), default=None),
            )
        )
    return tuple(made)


def _entry(
    answer: Mapping[str, Any],
    worst_case: Mapping[str, Any],
    found: Gathered,
    ranks: Mapping[str, int],
    crowd: Mapping[int, int],
    required: Sequence[str],
) -> Entry:
    board, key = answer["board"], answer["target"]
    verdicts = found.verdicts.get(board, {}).get(key, {})
    clean = rate_of(answer, "right", "n")
    assert clean is not None  # a target is listed for its clean answers
    counted = [found.cells[verdict.cell] for verdict in verdicts.values()]
    through = [verdict for verdict in verdicts.values() if verdict.undetected]
    arrived = [found.imports[cell.key] for cell in counted if cell.key in found.imports]
    checked = [found.verified.get(cell.key) for cell in counted]
    rank = ranks.get(key)
    robust = rate_of(worst_case, "right", "n")
    counting = [verdicts[entrant] for entrant in required if entrant in verdicts] if robust else []
    return Entry(
        target=found.targets[key],
        rank=rank,
        tied=rank is not None and crowd[rank] > 1,
        unranked=worst_case["unranked"],
        robust=robust,
        clean=clean,
        verdicts=verdicts,
        incoming=found.incoming.get((board, key)),
        undetected=min(
            through, key=lambda v: (-(v.undetected.value if v.undetected else 0.0), v.entrant), default=None
        ),
        false_positives=rate_of(answer, "alarms", "n"),
        certified=found.certified.get((board, key)),
        forwards=sum(cell.forwards / cell.count for cell in counted),
        backwards=sum(cell.backwards / cell.count for cell in counted),
        seconds=sum(cell.seconds for cell in counted),
        notes=found.notes.get((board, key), ()),
        elsewhere=found.elsewhere.get((board, key), ()),
        verified=False if False in checked else True if checked and all(checked) else None,
        arrived=len(arrived),
        crafted=sum(one.crafted for one in arrived),
        deciding=min(counting, key=_least, default=None),
    )


def _superseded(one: Earlier, targets: Mapping[str, Target]) -> Superseded:
    return Superseded(
        target=targets[one.target],
        standing=targets[one.standing],
        differs=one.differs,
        asked=one.asked,
        clean=Rate(*one.clean),
        robust=Rate(*one.robust) if one.robust else None,
        unranked=one.unranked,
    )


def _cores(known: Mapping[str, frozenset[str]], verdicts: Mapping[str, Mapping[str, Verdicts]]) -> dict[str, int]:
    cells = {one.cell for by_entrant in verdicts.values() for one in by_entrant.values()}
    crowd = Counter(digest for cell in cells for digest in known.get(cell, ()))
    return {digest: crowd[digest] for digest in sorted(crowd, key=lambda digest: (-crowd[digest], digest))}


def _least(verdicts: Verdicts) -> tuple[float, str]:
    return verdicts.accuracy.value, verdicts.entrant


def _strongest_first(verdicts: Iterable[Mapping[str, Verdicts]]) -> tuple[str, ...]:
    """By the mean of what each leaves."""
    left: dict[str, list[float]] = {}
    for by_entrant in verdicts:
        for entrant, one in by_entrant.items():
            left.setdefault(entrant, []).append(one.accuracy.value)
    return tuple(sorted(left, key=lambda entrant: (sum(left[entrant]) / len(left[entrant]), entrant)))


def _place(entry: Entry) -> tuple[bool, int, str, str]:
    right = entry.robust.k if entry.robust else 0
    return (entry.rank is None, -right, entry.target.label, entry.target.key)


def _ranks(right: Mapping[str, Sequence[bool]], targets: Mapping[str, Target]) -> dict[str, int]:
    ordered = sorted(right, key=lambda key: (targets[key].label, key))
    return dict(shared_ranks({key: right[key] for key in ordered}))


def _bits(verdicts: Sequence[bool]) -> int:
    """The first is the lowest."""
    return int("".join("1" if verdict else "0" for verdict in reversed(verdicts)) or "0", 2)


def _by_board(rows: list[dict[str, Any]]) -> dict[str, dict[str, dict[str, Any]]]:
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for row in rows:
        found.setdefault(row["board"], {})[row["target"]] = row
    return found
