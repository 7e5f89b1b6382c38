"""Who stands where, and what a place rests on."""

from __future__ import annotations

import json
from collections.abc import Iterator

from advbench_leaderboard.facts.rate import Rate
from advbench_leaderboard.site import Site
from advbench_leaderboard.tables.columns import BOARD, TARGET, rate_columns, rate_values
from advbench_leaderboard.tables.form import Table, Value


def _boards(site: Site) -> Iterator[tuple[Value, ...]]:
    for b in site.boards:
        yield (
            *(b.key, b.name, b.dataset.label, b.dataset.fingerprint, b.ball, b.eps, b.count, b.protocol),
            *(json.dumps(b.required, ensure_ascii=False), len(b.ranked), len(b.entries) - len(b.ranked), b.updated),
            *(b.aim, b.drawn),
        )


BOARDS = Table(
    "boards",
    "Boards",
    {**BOARD, "dataset": "the data set", "data_fingerprint": "digest of its images and labels"}
    | {"ball": "the threat with its radius", "eps": "the radius", "examples": "how many are judged"}
    | {"protocol": "version of the rules", "required": "JSON: attacks that a ranked target must have been through"}
    | {"ranked": "targets with a rank", "unranked": "targets without", "updated": "when its newest cell ended"}
    | {"aim": "what the required attacks want images to be taken for; empty where they leave it open"}
    | {"drawn": "the seed by which its examples were drawn; empty where they are the first of the data set"},
    _boards,
)


def _entries(site: Site) -> Iterator[tuple[Value, ...]]:
    for b in site.boards:
        for e in b.entries:
            past = e.undetected
            yield (
                *(b.key, b.name, e.target.key, e.target.label, e.target.model, e.target.defenses, e.rank, e.tied),
                *(e.unranked, *rate_values(e.robust), *rate_values(e.clean)),
                *(rate_values(e.incoming.rate) if e.incoming else rate_values(None)),
                *((e.incoming.source, e.incoming.entrant) if e.incoming else (None, None)),
                *(*rate_values(past.undetected if past else None), past.entrant if past else None),
                *(*rate_values(e.false_positives), e.target.asked, *rate_values(e.certified)),
                *(e.forwards, e.backwards, e.seconds, e.verified, e.deciding.entrant if e.deciding else None),
            )


ENTRIES = Table(
    "entries",
    "Targets on boards",
    {**BOARD, **TARGET, "model": "the model", "defenses": "its defenses", "rank": "empty where unranked"}
    | {"tied": "whether the rank is shared", "unranked": "why there is no rank"}
    | rate_columns("robust", "right, clean and under all required attacks")
    | rate_columns("clean", "right on clean images")
    | rate_columns("transfer_in", "fooled by the worst of others’ examples")
    | {
        "transfer_in_source": "the target those were crafted on",
        "transfer_in_attack": "the attack that crafted them",
    }
    | rate_columns("undetected", "fooled without an alarm, by the attack that gets past most often")
    | {"undetected_attack": "that attack"}
    | rate_columns("false_alarms", "alarms on clean images")
    | {"false_alarms_asked": "the rate that the threshold was set for"}
    | rate_columns("certified", "right, and proved to stay so within the radius")
    | {"forwards": "forward passes per example", "backwards": "gradients per example", "seconds": "time to craft"}
    | {"verified": "whether `advbench verify` found the same; empty where it has not been run"}
    | {"deciding_attack": "of the attacks that count, the one that leaves least"},
    _entries,
)


def _earlier(site: Site) -> Iterator[tuple[Value, ...]]:
    for b in site.boards:
        for one in b.superseded:
            yield (
                *(b.key, b.name, one.target.key, one.target.label, one.standing.key, one.standing.label, one.differs),
                *(*rate_values(one.robust), *rate_values(one.clean), one.unranked, one.asked),
            )


EARLIER = Table(
    "earlier",
    "Earlier targets of networks that boards list",
    {**BOARD, **TARGET, "standing": "the key of the target that the board lists", "standing_label": "its label"}
    | {"differs": "what the earlier one was made with"}
    | rate_columns("robust", "right, clean and under every required attack")
    | rate_columns("clean", "right on clean images")
    | {"unranked": "why it has no robust accuracy", "asked": "when its newest cell ended"},
    _earlier,
)


def _notes(site: Site) -> Iterator[tuple[Value, ...]]:
    for b in site.boards:
        for e in b.entries:
            for note in e.notes:
                yield b.key, b.name, e.target.key, e.target.label, note.kind, note.reason, note.cell


NOTES = Table(
    "notes",
    "Notes",
    {**BOARD, **TARGET, "kind": "of note", "reason": "what it rests on"}
    | {"cell": "the cell that it speaks of, where it does not count on the board"},
    _notes,
)


def _elsewhere(site: Site) -> Iterator[tuple[Value, ...]]:
    for b in site.boards:
        for e in b.entries:
            for one in e.elsewhere:
                yield (
                    *(b.key, b.name, e.target.key, e.target.label, one.cell, one.entrant, one.elsewhere, one.count),
                    *(one.shared, *rate_values(Rate(one.right, one.n)), one.test.p_value if one.test else None),
                    one.contradicts,
                )


ELSEWHERE = Table(
    "elsewhere",
    "What does not count on a board",
    {**BOARD, **TARGET, "cell": "the cell’s key", "attack": "the attack, with its goal"}
    | {"elsewhere": "whether on another set of examples; else by an attack that the board does not require"}
    | {"examples": "of the cell’s set", "shared": "how many of the cell’s examples the board judges, too"}
    | rate_columns("accuracy", "right, clean and under this attack")
    | {"p_value": "that the board’s robust accuracy is no higher; empty where that was not tested"}
    | {"contradicts": "whether it is flagged"},
    _elsewhere,
)


def _differences(site: Site) -> Iterator[tuple[Value, ...]]:
    for b in site.boards:
        labels = {entry.target.key: entry.target.label for entry in b.ranked}
        for (one, other), d in site.differences(b).items():
            pair = (one, labels[one], other, labels[other])
            yield b.key, b.name, *pair, d.value, d.low, d.high, d.p_value, d.significant


DIFFERENCES = Table(
    "differences",
    "Paired differences",
    {**BOARD, **TARGET, "other": "the key of the target that it is held against", "other_label": "its label"}
    | {"difference": "robust accuracy less the other’s, on the same examples"}
    | {"low": "lower end of the 95 % interval", "high": "upper end of the 95 % interval"}
    | {"p_value": "exact McNemar test", "significant": "whether that is below 0.05"},
    _differences,
)
