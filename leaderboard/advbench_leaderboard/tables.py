"""The site's tables, for download: what each holds, and what its columns mean."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from advbench_leaderboard.facts.rate import Rate, rate_of
from advbench_leaderboard.figures.curves import radii
from advbench_leaderboard.pages.compare import differences
from advbench_leaderboard.pages.target import detector, matrices
from advbench_leaderboard.site import Site
from advbench_leaderboard.table import Table, Value
from advbench_leaderboard.text import tail


def _rate(rate: Rate | None) -> tuple[Value, ...]:
    return (rate.k, rate.n, rate.value, rate.low, rate.high) if rate else (None,) * 5


def _rate_columns(name: str, words: str) -> dict[str, str]:
    return {
        f"{name}_k": f"{words}: counted",
        f"{name}_n": f"{words}: of so many",
        name: f"{words}: the share",
        f"{name}_low": f"{words}: lower end of the 95 % interval",
        f"{name}_high": f"{words}: upper end of the 95 % interval",
    }


def _boards(site: Site) -> Iterator[tuple[Value, ...]]:
    for b in site.boards:
        yield (
            *(b.key, b.name, b.dataset.label, b.dataset.fingerprint, b.ball, b.eps, b.count, b.protocol),
            *(json.dumps(b.required, ensure_ascii=False), len(b.ranked), len(b.entries) - len(b.ranked), b.updated),
            b.aim,
        )


def _entries(site: Site) -> Iterator[tuple[Value, ...]]:
    for b in site.boards:
        for e in b.entries:
            past = e.undetected
            yield (
                *(b.key, b.name, e.target.key, e.target.label, e.target.model, e.target.defenses, e.rank, e.tied),
                *(e.unranked, *_rate(e.robust), *_rate(e.clean)),
                *(_rate(e.incoming.rate) if e.incoming else _rate(None)),
                *((e.incoming.source, e.incoming.entrant) if e.incoming else (None, None)),
                *(*_rate(past.undetected if past else None), past.entrant if past else None),
                *(*_rate(e.false_positives), e.target.asked, *_rate(e.certified)),
                *(e.forwards, e.backwards, e.seconds, e.verified, e.deciding.entrant if e.deciding else None),
            )


def _attacks(site: Site) -> Iterator[tuple[Value, ...]]:
    for b in site.boards:
        for e in b.entries:
            for v in e.verdicts.values():
                cell = site.cells[v.cell]
                yield (
                    *(b.key, b.name, e.target.key, e.target.label, v.cell, v.entrant, v.entrant in b.required),
                    *(*_rate(v.fooled), *_rate(v.first_right), *_rate(v.accuracy), *_rate(v.undetected)),
                    *(v.mean_size, v.median_size, v.violations, cell.stop, cell.seed),
                    *(cell.forwards / cell.count, cell.backwards / cell.count, cell.seconds),
                )


def _transfer(site: Site) -> Iterator[tuple[Value, ...]]:
    for b in site.boards:
        for row in site.transfer(b.key):
            yield (
                *(b.key, b.name, row["cell"], row["entrant"], row["source"], row["source_label"]),
                *(row["target"], row["target_label"], *_rate(Rate(row["fooled"], row["n"]))),
                *_rate(rate_of(row, "fooled_first_right", "first_right")),
                *(*_rate(rate_of(row, "undetected", "n")), row["mean_size"], row["violations"], row["stop"]),
            )


def _targets(site: Site) -> Iterator[tuple[Value, ...]]:
    for t in site.targets.values():
        yield (
            *(t.key, t.label, t.model, t.defenses, t.dataset, t.data_fingerprint, _json(t.params), t.weights_sha256),
            *(_json(t.recipe), t.threshold, t.asked, t.randomised, t.draws),
        )


def _cells(site: Site) -> Iterator[tuple[Value, ...]]:
    for c in site.cells.values():
        yield (
            *(c.key, c.attack, c.goal, c.threat, c.eps, c.source, site.targets[c.source].label, c.count, c.status),
            *(
                c.reason,
                c.current,
                c.stop,
                c.seed,
                c.protocol,
                c.needs,
                c.beyond_gradients,
                c.forwards,
                c.backwards,
                c.seconds,
                c.run,
                c.at,
            ),
            *((mark.sound, mark.at) if (mark := site.marks.get(c.key)) else (None, None)),
            *((came.source, came.refereed, came.crafted) if (came := site.imports.get(c.key)) else (None, None, None)),
        )


def _earlier(site: Site) -> Iterator[tuple[Value, ...]]:
    for b in site.boards:
        for one in b.superseded:
            yield (
                *(b.key, b.name, one.target.key, one.target.label, one.standing.key, one.standing.label, one.differs),
                *(*_rate(one.robust), *_rate(one.clean), one.unranked, one.asked),
            )


def _skips(site: Site) -> Iterator[tuple[Value, ...]]:
    for s in site.skips:
        yield s.dataset, s.target, s.attack, s.ball, s.reason, s.run


def _notes(site: Site) -> Iterator[tuple[Value, ...]]:
    for b in site.boards:
        for e in b.entries:
            for note in e.notes:
                yield b.key, b.name, e.target.key, e.target.label, note.kind, note.reason, note.cell


def _elsewhere(site: Site) -> Iterator[tuple[Value, ...]]:
    for b in site.boards:
        for e in b.entries:
            for one in e.elsewhere:
                yield (
                    *(b.key, b.name, e.target.key, e.target.label, one.cell, one.entrant, one.elsewhere, one.count),
                    *(one.shared, *_rate(Rate(one.right, one.n)), one.test.p_value if one.test else None),
                    one.contradicts,
                )


def _curves(site: Site) -> Iterator[tuple[Value, ...]]:
    for b in site.boards:
        curves = site.curves(b)
        for curve in curves:
            for radius in radii(curves, b.eps, 20):
                yield b.key, b.name, curve.target, curve.label, radius, curve.accuracy(radius), curve.n


def _runs(site: Site) -> Iterator[tuple[Value, ...]]:
    for r in site.runs:
        yield (
            *(r.id, r.started, r.ended, r.how, r.suite, r.seed, r.protocol, r.command, r.cells),
            *(_json(r.versions), _json(r.hardware), _json(r.settings)),
        )


def _differences(site: Site) -> Iterator[tuple[Value, ...]]:
    for b in site.boards:
        labels = {entry.target.key: entry.target.label for entry in b.ranked}
        for (one, other), d in differences(site, b).items():
            pair = (one, labels[one], other, labels[other])
            yield b.key, b.name, *pair, d.value, d.low, d.high, d.p_value, d.significant


def _detectors(site: Site) -> Iterator[tuple[Value, ...]]:
    for b in site.boards:
        for e in b.entries:
            if found := detector(site, b, e):
                who = (b.key, b.name, e.target.key, e.target.label, found.cell.key, found.cell.entrant)
                for allowed, point in found.points:
                    yield *who, allowed, point.false_positives, point.undetected


def _classes(site: Site) -> Iterator[tuple[Value, ...]]:
    for b in site.boards:
        for e in b.entries:
            for one in matrices(site, b, e):
                who = (b.key, b.name, e.target.key, e.target.label, one.cells[0].attack, one.answers.targeted)
                for (label, answer), turned in sorted(one.answers.turned.items()):
                    names = (site.class_name(e.target.data_fingerprint, place) for place in (label, answer))
                    yield *who, *names, turned, one.answers.tried[label, answer]


def _datasets(site: Site) -> Iterator[tuple[Value, ...]]:
    for d in site.datasets.values():
        yield d.fingerprint, d.label, _json(d.classes), _json(d.shape), d.count, tail(d.source), d.partial


def _plugins(site: Site) -> Iterator[tuple[Value, ...]]:
    for r in site.runs:
        for p in r.plugins:
            yield r.id, p.kind, p.label, p.distribution, p.version, p.digest, p.error


def _json(value: Any) -> str | None:
    return None if value is None else json.dumps(value, ensure_ascii=False, sort_keys=True)


_BOARD = {"board": "the board’s key", "board_name": "the board’s name"}
_TARGET = {"target": "the target’s key", "target_label": "the target’s label"}

TABLES = (
    Table(
        "boards",
        "Boards",
        {**_BOARD, "dataset": "the data set", "data_fingerprint": "digest of its images and labels"}
        | {"ball": "the threat with its radius", "eps": "the radius", "examples": "how many are judged"}
        | {"protocol": "version of the rules", "required": "JSON: attacks that a ranked target must have been through"}
        | {"ranked": "targets with a rank", "unranked": "targets without", "updated": "when its newest cell ended"}
        | {"aim": "what the required attacks want images to be taken for; empty where they leave it open"},
        _boards,
    ),
    Table(
        "entries",
        "Targets on boards",
        {**_BOARD, **_TARGET, "model": "the model", "defenses": "its defenses", "rank": "empty where unranked"}
        | {"tied": "whether the rank is shared", "unranked": "why there is no rank"}
        | _rate_columns("robust", "right, clean and under all required attacks")
        | _rate_columns("clean", "right on clean images")
        | _rate_columns("transfer_in", "fooled by the worst of others’ examples")
        | {
            "transfer_in_source": "the target those were crafted on",
            "transfer_in_attack": "the attack that crafted them",
        }
        | _rate_columns("undetected", "fooled without an alarm, by the attack that gets past most often")
        | {"undetected_attack": "that attack"}
        | _rate_columns("false_alarms", "alarms on clean images")
        | {"false_alarms_asked": "the rate that the threshold was set for"}
        | _rate_columns("certified", "right, and proved to stay so within the radius")
        | {"forwards": "forward passes per example", "backwards": "gradients per example", "seconds": "time to craft"}
        | {"verified": "whether `advbench verify` found the same; empty where it has not been run"}
        | {"deciding_attack": "of the attacks that count, the one that leaves least"},
        _entries,
    ),
    Table(
        "attacks",
        "Attacks on targets",
        {**_BOARD, **_TARGET, "cell": "the cell’s key", "attack": "the attack, with its goal"}
        | {"required": "whether the board requires it"}
        | _rate_columns("fooled", "goal reached within the ball")
        | _rate_columns("fooled_first_right", "the same, of those right on the clean image")
        | _rate_columns("accuracy", "right, clean and under this attack")
        | _rate_columns("undetected", "goal reached without an alarm")
        | {
            "mean_size": "of the perturbations that fooled images which were right when clean",
            "median_size": "of the same",
        }
        | {"violations": "perturbations that broke the rules"}
        | {"stop": "first: at the first success; end: at the attack’s end", "seed": "of the random draws"}
        | {"forwards": "forward passes per example", "backwards": "gradients per example", "seconds": "time to craft"},
        _attacks,
    ),
    Table(
        "transfer",
        "Transfer between targets",
        {**_BOARD, "cell": "the cell’s key", "attack": "the attack, with its goal"}
        | {"source": "the key of the target that it was crafted on", "source_label": "that target’s label"}
        | {"target": "the key of the target that it was judged on", "target_label": "that target’s label"}
        | _rate_columns("fooled", "goal reached on the other target")
        | _rate_columns("fooled_first_right", "the same, of those that target had right on the clean image")
        | _rate_columns("undetected", "goal reached without an alarm of that target")
        | {"mean_size": "of the perturbations that fooled images which were right when clean"}
        | {"violations": "perturbations that broke the rules"}
        | {"stop": "first: at the first success; end: at the attack’s end"},
        _transfer,
    ),
    Table(
        "targets",
        "Targets",
        {**_TARGET, "model": "the model", "defenses": "its defenses", "dataset": "the data set"}
        | {"data_fingerprint": "digest of its images and labels", "params": "JSON: parameters"}
        | {"weights_sha256": "digest of the weights", "recipe": "JSON: how it was trained"}
        | {"threshold": "suspicion above it is an alarm", "asked": "the false-alarm rate it was set for"}
        | {"randomised": "whether it answers differently when asked twice", "draws": "answers it is judged by"},
        _targets,
    ),
    Table(
        "cells",
        "Cells",
        {"cell": "the cell’s key", "attack": "the attack", "goal": "its goal", "threat": "the ball’s name"}
        | {"eps": "its radius; empty where unbounded", **_TARGET, "examples": "how many", "status": "how it ended"}
        | {"reason": "why it failed", "current": "whether it counts on its boards", "stop": "first or end"}
        | {"seed": "of the random draws", "protocol": "version of the rules", "needs": "what the attack may ask"}
        | {"beyond_gradients": "whether the attack also finds what gradients at the image don't lead to"}
        | {"forwards": "forward passes in all", "backwards": "gradients in all", "seconds": "time to craft"}
        | {"run": "the run of its latest event", "at": "when that was"}
        | {"verified": "whether `advbench verify` found the same facts; empty where it has not refereed these"}
        | {"verified_at": "when that was", "imported_from": "the database that it was merged from"}
        | {"refereed_on_arrival": "whether that merge refereed it"}
        | {"crafted_on_arrival": "whether a merge crafted it again and it came out the same"},
        _cells,
    ),
    Table(
        "earlier",
        "Earlier targets of networks that boards list",
        {**_BOARD, **_TARGET, "standing": "the key of the target that the board lists", "standing_label": "its label"}
        | {"differs": "what the earlier one was made with"}
        | _rate_columns("robust", "right, clean and under every required attack")
        | _rate_columns("clean", "right on clean images")
        | {"unranked": "why it has no robust accuracy", "asked": "when its newest cell ended"},
        _earlier,
    ),
    Table(
        "skips",
        "Skipped pairs",
        {"dataset": "the data set", "target_label": "the target’s label", "attack": "empty: every attack"}
        | {"ball": "empty: every ball", "reason": "why it did not run", "run": "the run that says so"},
        _skips,
    ),
    Table(
        "notes",
        "Notes",
        {**_BOARD, **_TARGET, "kind": "of note", "reason": "what it rests on"}
        | {"cell": "the cell that it speaks of, where it does not count on the board"},
        _notes,
    ),
    Table(
        "elsewhere",
        "What does not count on a board",
        {**_BOARD, **_TARGET, "cell": "the cell’s key", "attack": "the attack, with its goal"}
        | {"elsewhere": "whether on another set of examples; else by an attack that the board does not require"}
        | {"examples": "of the cell’s set", "shared": "how many of the cell’s examples the board judges, too"}
        | _rate_columns("accuracy", "right, clean and under this attack")
        | {"p_value": "that the board’s robust accuracy is no higher; empty where that was not tested"}
        | {"contradicts": "whether it is flagged"},
        _elsewhere,
    ),
    Table(
        "curves",
        "Accuracy against radius",
        {**_BOARD, **_TARGET, "radius": "of the ball", "accuracy": "right under all minimal-norm attacks up to it"}
        | {"examples": "how many"},
        _curves,
    ),
    Table(
        "runs",
        "Runs",
        {"run": "its id", "started": "UTC", "ended": "empty: cut off", "how": "how it ended", "suite": "its suite"}
        | {"seed": "of the random draws", "protocol": "version of the rules", "command": "as it was typed"}
        | {"cells": "attempts at cells", "versions": "JSON", "hardware": "JSON", "settings": "JSON"},
        _runs,
    ),
    Table(
        "differences",
        "Paired differences",
        {**_BOARD, **_TARGET, "other": "the key of the target that it is held against", "other_label": "its label"}
        | {"difference": "robust accuracy less the other’s, on the same examples"}
        | {"low": "lower end of the 95 % interval", "high": "upper end of the 95 % interval"}
        | {"p_value": "exact McNemar test", "significant": "whether that is below 0.05"},
        _differences,
    ),
    Table(
        "detectors",
        "Detectors at every threshold",
        {**_BOARD, **_TARGET, "cell": "the cell’s key", "attack": "the attack that gets past most often"}
        | {"allowed": "false alarms allowed", "false_alarms": "those measured at that threshold"}
        | {"undetected": "fooled without an alarm at that threshold"},
        _detectors,
    ),
    Table(
        "classes",
        "Which classes become which",
        {**_BOARD, **_TARGET, "attack": "the attack that fools most often", "targeted": "whether it aims at classes"}
        | {"class": "the true class", "became": "the class answered, or the one aimed at"}
        | {"turned": "examples of the class that became it", "tried": "of so many, all right on the clean image"},
        _classes,
    ),
    Table(
        "datasets",
        "Data sets",
        {"data_fingerprint": "digest of its images and labels", "dataset": "its name", "classes": "JSON: their names"}
        | {"shape": "JSON: channels, height, width", "examples": "how many it has", "source": "where it was read from"}
        | {"partial": "what is missing of the official set"},
        _datasets,
    ),
    Table(
        "plugins",
        "Plugins",
        {"run": "the run that it took part in", "kind": "of plugin", "plugin": "its name, with parameters"}
        | {"distribution": "who ships it", "version": "of that", "digest": "of its source"}
        | {"error": "why it was set aside; empty where it was not"},
        _plugins,
    ),
)
