"""What the pages show, gathered from the views: no files, no markup."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from advbench.rates import shared_ranks
from advbench.store import Store
from advbench_leaderboard.text import slug

Found = Mapping[str, Any]


@dataclass(frozen=True)
class Rate:
    """k of n, with its 95 % interval."""

    k: int
    n: int
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Entry:
    """A target on a board. `rank` is None when `unranked` says why."""

    key: str
    label: str
    rank: int | None
    tied: bool
    unranked: str | None
    robust: Rate | None
    clean: Rate
    attacks: Mapping[str, Rate]
    undetected: Rate | None
    """Of the attack that gets through most often."""
    undetected_by: str | None
    false_positives: Rate | None
    asked: float | None
    notes: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Fooling:
    """One attack crafted on one target and judged there."""

    cell: str
    target: str
    entrant: str
    stop: str | None
    rate: Rate
    first_right: Rate | None
    undetected: Rate | None
    mean_size: float | None
    violations: int


@dataclass(frozen=True)
class Skip:
    """A pair that did not run, and why."""

    target: str
    attack: str
    reason: str


@dataclass(frozen=True)
class Board:
    """Everything on one page."""

    key: str
    name: str
    file: str
    dataset: str
    source: str
    partial: str
    ball: str
    """The threat with its radius, as in the board's name."""
    count: int
    protocol: int
    required: tuple[str, ...]
    entrants: tuple[str, ...]
    """The required ones in the board's order, then the others."""
    entries: tuple[Entry, ...]
    fooling: tuple[Fooling, ...]
    failed: tuple[Skip, ...]
    skipped: tuple[Skip, ...]

    @property
    def ranked(self) -> tuple[Entry, ...]:
        return tuple(entry for entry in self.entries if entry.rank is not None)

    @property
    def detects(self) -> bool:
        return any(entry.false_positives for entry in self.entries)


def gather(store: Store) -> list[Board]:
    """The boards of the database, from one moment of it."""
    with store.tallied():
        views = {
            view: _by_board(store.rates(view))
            for view in ("clean_accuracy", "robust_accuracy", "attack_accuracy", "undetected", "fooling", "board_cells")
        }
        rows = store.boards()
        labels = _labels(store)
        notes: dict[str, list[tuple[str, str]]] = defaultdict(list)
        sql = "SELECT t.key, n.kind, n.reason FROM notes n JOIN targets t ON t.id = n.target ORDER BY n.kind, n.reason"
        for note in store.rows(sql):
            notes[note["key"]].append((note["kind"], note["reason"]))
        datasets = {row["fingerprint"]: row for row in store.rows("SELECT * FROM datasets")}
        skips = _latest_skips(store)
        return [
            _board(
                row,
                {view: found.get(row["key"], []) for view, found in views.items()},
                ranks=_ranks(store.robust_examples(row["key"]), labels),
                labels=labels,
                notes=notes,
                dataset=datasets.get(row["data_fingerprint"], {}),
                skips=skips,
            )
            for row in rows
        ]


def _board(
    row: Found,
    views: Mapping[str, list[dict[str, Any]]],
    *,
    ranks: Mapping[str, int],
    labels: Mapping[str, str],
    notes: Mapping[str, list[tuple[str, str]]],
    dataset: Found,
    skips: Iterable[Found],
) -> Board:
    required = tuple(row["required"])
    others = {found["entrant"] for found in views["attack_accuracy"]} - set(required)
    return Board(
        key=row["key"],
        name=row["name"],
        file=f"{slug(row['name'], row['key'])}.html",
        dataset=row["dataset"],
        source=dataset.get("source") or "",
        partial=dataset.get("partial") or "",
        ball=row["name"].removeprefix(f"{row['dataset']}/"),
        count=row["count"],
        protocol=row["protocol"],
        required=required,
        entrants=(*required, *sorted(others)),
        entries=_entries(views, ranks, labels, notes),
        fooling=_fooling(views, labels),
        failed=_failed(views["board_cells"], labels),
        skipped=tuple(Skip(_target(skip), _entrant(skip), skip["reason"]) for skip in skips if _concerns(skip, row)),
    )


def _entries(
    views: Mapping[str, list[dict[str, Any]]],
    ranks: Mapping[str, int],
    labels: Mapping[str, str],
    notes: Mapping[str, list[tuple[str, str]]],
) -> tuple[Entry, ...]:
    robust = {row["target"]: row for row in views["robust_accuracy"]}
    attacks: dict[str, dict[str, Rate]] = defaultdict(dict)
    for row in views["attack_accuracy"]:
        if rate := _rate(row, "still_right", "n", "accuracy"):
            attacks[row["target"]][row["entrant"]] = rate
    through: dict[str, dict[str, Any]] = {}
    for row in sorted(views["undetected"], key=lambda row: (-(row["rate"] or 0.0), row["entrant"])):
        if row["own"]:
            through.setdefault(row["target"], row)
    crowd = Counter(ranks.values())
    entries = []
    for row in views["clean_accuracy"]:
        key = row["target"]
        clean = _rate(row, "right", "n", "accuracy")
        assert clean is not None  # a target is listed for its clean answers
        worst = through.get(key)
        rank = ranks.get(key)
        entries.append(
            Entry(
                key=key,
                label=labels[key],
                rank=rank,
                tied=rank is not None and crowd[rank] > 1,
                unranked=robust[key]["unranked"],
                robust=_rate(robust[key], "right", "n", "accuracy"),
                clean=clean,
                attacks=attacks[key],
                undetected=_rate(worst, "undetected", "n", "rate") if worst else None,
                undetected_by=worst["entrant"] if worst else None,
                false_positives=_rate(row, "alarms", "n", "false_positives"),
                asked=row["asked"] if row["alarms"] is not None else None,
                notes=tuple(notes.get(key, ())),
            )
        )
    return tuple(sorted(entries, key=_place))


def _place(entry: Entry) -> tuple[int, int, str, str]:
    """Ranked entries first, the best on top; unranked ones by name."""
    right = entry.robust.k if entry.robust else 0
    return (entry.rank is None, -right, entry.label, entry.key)


def _ranks(right: Mapping[str, Mapping[int, bool]], labels: Mapping[str, str]) -> dict[str, int]:
    ordered = sorted(right, key=lambda key: (labels[key], key))
    return dict(shared_ranks({key: [right[key][example] for example in sorted(right[key])] for key in ordered}))


def _fooling(views: Mapping[str, list[dict[str, Any]]], labels: Mapping[str, str]) -> tuple[Fooling, ...]:
    undetected = {row["cell"]: row for row in views["undetected"] if row["own"]}
    found = []
    for row in views["fooling"]:
        rate = _rate(row, "fooled", "n", "rate")
        if rate is None:  # the goal applied to no example
            continue
        caught = undetected.get(row["cell"])
        found.append(
            Fooling(
                cell=row["cell"],
                target=labels[row["source"]],
                entrant=row["entrant"],
                stop=row["stop"],
                rate=rate,
                first_right=_rate(row, "fooled_first_right", "first_right", "rate_first_right"),
                undetected=_rate(caught, "undetected", "n", "rate") if caught else None,
                mean_size=row["mean_size"],
                violations=row["violations"],
            )
        )
    return tuple(sorted(found, key=lambda row: (row.target, row.entrant, row.cell)))


def _failed(cells: Iterable[Found], labels: Mapping[str, str]) -> tuple[Skip, ...]:
    found = [
        Skip(
            labels[row["source"]],
            row["entrant"],
            "not finished yet" if row["status"] == "unfinished" else row["reason"] or "no reason given",
        )
        for row in cells
        if row["latest"] and row["status"] != "done"
    ]
    return tuple(sorted(found, key=lambda skip: (skip.target, skip.attack, skip.reason)))


def _latest_skips(store: Store) -> list[dict[str, Any]]:
    """What the last run to say so said about each pair."""
    return store.rows("""
        SELECT dataset, model, defenses, attack, threat, goal, reason FROM (
          SELECT s.*, r.started, row_number() OVER (
            PARTITION BY s.dataset, model, defenses, attack, threat, goal ORDER BY r.started DESC, r.id
          ) AS age
          FROM skips s JOIN runs r ON r.id = s.run
        ) s WHERE age = 1 AND NOT EXISTS (  -- what has been run since is not skipped any more
          SELECT 1 FROM targets t
          JOIN cells c ON c.source = t.key
          JOIN cell_events e ON e.cell = c.id
          JOIN runs r ON r.id = e.run
          WHERE t.dataset = s.dataset AND t.model = s.model AND t.defenses = s.defenses AND r.started > s.started
            AND (s.attack = '' OR (c.attack = s.attack AND c.goal = s.goal AND s.threat LIKE c.threat || '/%'))
        ) ORDER BY model, defenses, attack, goal, threat
    """)


def _concerns(skip: Found, board: Found) -> bool:
    """A skip names its ball like the board (`linf/0.3`), or none where a target fits no attack at all."""
    everywhere = not skip["threat"]
    return skip["dataset"] == board["dataset"] and (
        everywhere or board["name"] == f"{skip['dataset']}/{skip['threat']}"
    )


def _target(skip: Found) -> str:
    return str(skip["model"] if skip["defenses"] in ("", "none") else f"{skip['model']}+{skip['defenses']}")


def _entrant(skip: Found) -> str:
    if not skip["attack"]:
        return "every attack"
    return str(skip["attack"] if skip["goal"] in ("", "untargeted") else f"{skip['attack']} → {skip['goal']}")


def _labels(store: Store) -> dict[str, str]:
    """By key; where two targets share a label (other weights, say) the key's beginning tells them apart."""
    targets = store.targets()
    crowd = Counter((row["label"], row["data_fingerprint"]) for row in targets)
    return {
        row["key"]: f"{row['label']} #{row['key'][:8]}"
        if crowd[row["label"], row["data_fingerprint"]] > 1
        else row["label"]
        for row in targets
    }


def _rate(row: Found, k: str, n: str, name: str) -> Rate | None:
    if row[name] is None:
        return None
    return Rate(row[k], row[n], row[name], row[f"{name}_low"], row[f"{name}_high"])


def _by_board(rows: Iterable[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        found[row["board"]].append(row)
    return found
