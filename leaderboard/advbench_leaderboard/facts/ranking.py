"""Boards made of what the database holds: targets in their order, and what stands beside and below them."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from advbench.rates.aim import aim_of
from advbench.rates.earlier import Earlier
from advbench.rates.evidence import Evidence
from advbench.rates.shipper import shipper_of
from advbench.rates.uncertainty import shared_ranks
from advbench.store import Store
from advbench.store.rows import BoardRow
from advbench_leaderboard.facts.boards import Board, Entry, Remark, Superseded, least
from advbench_leaderboard.facts.cells import Cell, Incoming, Verdicts
from advbench_leaderboard.facts.checks import Import
from advbench_leaderboard.facts.entrants import Dataset, Target, nameless
from advbench_leaderboard.facts.rate import Rate, rate_of
from advbench_leaderboard.facts.skips import Skip
from advbench_leaderboard.text import in_order


@dataclass(frozen=True)
class Gathered:
    """Facts that boards are made of."""

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
    """By cell: whether it was refereed again and found the same."""
    imports: Mapping[str, Import]
    """By cell, of those that came by merging."""
    earlier: Sequence[Earlier]
    cores: Mapping[str, frozenset[str]]
    """By cell: digests of the core that its shards were made with."""
    draws: Mapping[str, int]
    """By set of examples: the seed by which it was drawn; any other is the first of its data."""


@dataclass(frozen=True, slots=True)
class _Placed:
    """A cell that belongs to a board."""

    board: str
    cell: str
    open: bool
    """Whether its latest attempt failed or has not ended."""


@dataclass(frozen=True, slots=True)
class _Clean:
    board: str
    target: str
    right: int
    alarms: int | None
    n: int


@dataclass(frozen=True, slots=True)
class _Robust:
    board: str
    target: str
    right: int | None
    n: int | None
    unranked: str | None


def boards(store: Store, facts: Gathered) -> tuple[Board, ...]:
    """Board by board in the order of data sets and names, 5° before 10°."""
    placed: dict[str, list[_Placed]] = defaultdict(list)
    for cell in store.read(
        _Placed,
        "SELECT board, cell, latest AND status <> 'done' AS open FROM board_cells WHERE stands ORDER BY board",
    ):
        placed[cell.board].append(cell)
    clean: dict[str, list[_Clean]] = defaultdict(list)
    for one in store.read(_Clean, "SELECT board, target, right, alarms, n FROM clean_accuracy"):
        clean[one.board].append(one)
    robust = {
        (one.board, one.target): one
        for one in store.read(_Robust, "SELECT board, target, right, n, unranked FROM robust_accuracy")
    }
    return tuple(
        _board(
            one,
            [(answers, robust[one.key, answers.target]) for answers in clean[one.key]],
            _verdicts(store, one.key),
            placed[one.key],
            facts,
        )
        for one in sorted(store.boards(), key=lambda one: in_order(f"{one.dataset} {one.name}"))
    )


def _board(
    stored: BoardRow,
    answers: Sequence[tuple[_Clean, _Robust]],
    right: Mapping[str, Sequence[bool]],
    placed: Sequence[_Placed],
    facts: Gathered,
) -> Board:
    ranks = _ranks(right, facts.targets)
    crowd = Counter(ranks.values())
    verdicts = facts.verdicts.get(stored.key, {})
    dataset = facts.datasets.get(stored.data_fingerprint) or nameless(stored.data_fingerprint, stored.dataset)
    entries = [_entry(clean, robust, facts, ranks, crowd, stored.required) for clean, robust in answers]
    cells = [facts.cells[one.cell] for one in placed]
    failed = [facts.cells[one.cell] for one in placed if one.open]
    return Board(
        key=stored.key,
        name=stored.name,
        dataset=dataset,
        ball=stored.name.removeprefix(f"{stored.dataset}/"),
        threat=stored.threat,
        family=stored.family,
        shipper=shipper_of(stored.ball),
        params=stored.params or {},
        eps=stored.eps,
        examples=stored.examples,
        count=stored.count,
        drawn=facts.draws.get(stored.examples),
        protocol=stored.protocol,
        required=tuple(stored.required),
        aim=aim_of(stored.required, dataset.classes),
        entrants=_strongest_first(verdicts.values()),
        entries=tuple(sorted(entries, key=_place)),
        right={target: _bits(some) for target, some in right.items()},
        superseded=tuple(_superseded(one, facts.targets) for one in facts.earlier if one.board == stored.key),
        cores=_cores(facts.cores, verdicts),
        failed=tuple(sorted(failed, key=lambda cell: (facts.targets[cell.source].label, cell.entrant, cell.key))),
        skipped=tuple(skip for skip in facts.skips if skip.concerns(stored.dataset, stored.name)),
        updated=max((cell.at for cell in cells if cell.at), default=None),
    )


def _verdicts(store: Store, board: str) -> dict[str, list[bool]]:
    """By target: which examples are right, clean and under all required attacks, in the order of their ids."""
    return {
        target: [verdicts[example] for example in sorted(verdicts)]
        for target, verdicts in store.robust_examples(board).items()
    }


def _entry(
    answers: _Clean,
    worst_case: _Robust,
    facts: Gathered,
    ranks: Mapping[str, int],
    crowd: Mapping[int, int],
    required: Sequence[str],
) -> Entry:
    board, key = answers.board, answers.target
    verdicts = facts.verdicts.get(board, {}).get(key, {})
    counted = [facts.cells[verdict.cell] for verdict in verdicts.values()]
    through = [verdict for verdict in verdicts.values() if verdict.undetected]
    arrived = [facts.imports[cell.key] for cell in counted if cell.key in facts.imports]
    checked = [facts.verified.get(cell.key) for cell in counted]
    rank = ranks.get(key)
    robust = rate_of(worst_case.right, worst_case.n)
    counting = [verdicts[entrant] for entrant in required if entrant in verdicts] if robust else []
    return Entry(
        target=facts.targets[key],
        rank=rank,
        tied=rank is not None and crowd[rank] > 1,
        unranked=worst_case.unranked,
        robust=robust,
        clean=Rate(answers.right, answers.n),
        verdicts=verdicts,
        incoming=facts.incoming.get((board, key)),
        undetected=min(
            through, key=lambda v: (-(v.undetected.value if v.undetected else 0.0), v.entrant), default=None
        ),
        false_positives=rate_of(answers.alarms, answers.n),
        certified=facts.certified.get((board, key)),
        forwards=sum(cell.forwards / cell.count for cell in counted),
        backwards=sum(cell.backwards / cell.count for cell in counted),
        seconds=sum(cell.seconds for cell in counted),
        notes=facts.notes.get((board, key), ()),
        elsewhere=facts.elsewhere.get((board, key), ()),
        verified=False if False in checked else True if checked and all(checked) else None,
        arrived=len(arrived),
        crafted=sum(one.crafted for one in arrived),
        deciding=min(counting, key=least, default=None),
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


def _strongest_first(verdicts: Iterable[Mapping[str, Verdicts]]) -> tuple[str, ...]:
    """Entrants by the mean accuracy that each leaves."""
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
    """Verdicts as the bits of a number; the first is the lowest."""
    return int("".join("1" if verdict else "0" for verdict in reversed(verdicts)) or "0", 2)
