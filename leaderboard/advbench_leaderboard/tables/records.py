"""What took part, and under what: cells, targets, runs, plugins, data; and what did not run."""

from __future__ import annotations

from collections.abc import Iterator

from advbench_leaderboard.site import Site
from advbench_leaderboard.tables.columns import TARGET, json_value
from advbench_leaderboard.tables.form import Table, Value
from advbench_leaderboard.text import tail


def _targets(site: Site) -> Iterator[tuple[Value, ...]]:
    for t in site.targets.values():
        yield (
            *(
                t.key,
                t.label,
                t.model,
                t.defenses,
                t.dataset,
                t.data_fingerprint,
                json_value(t.params),
                t.weights_sha256,
            ),
            *(json_value(t.recipe), t.threshold, t.asked, t.randomised, t.draws),
        )


TARGETS = Table(
    "targets",
    "Targets",
    {**TARGET, "model": "the model", "defenses": "its defenses", "dataset": "the data set"}
    | {"data_fingerprint": "digest of its images and labels", "params": "JSON: parameters"}
    | {"weights_sha256": "digest of the weights", "recipe": "JSON: how it was trained"}
    | {"threshold": "suspicion above it is an alarm", "asked": "the false-alarm rate it was set for"}
    | {"randomised": "whether it answers differently when asked twice", "draws": "answers it is judged by"},
    _targets,
)


def _cells(site: Site) -> Iterator[tuple[Value, ...]]:
    for c in site.cells.values():
        yield (
            *(c.key, c.attack, c.goal, c.threat, c.eps, c.source, site.targets[c.source].label, c.count, c.status),
            *(c.reason, c.current, c.stop, c.seed, c.protocol, c.precision, c.needs, c.beyond_gradients),
            *(c.forwards, c.backwards, c.seconds, c.run, c.at),
            *((mark.sound, mark.at) if (mark := site.marks.get(c.key)) else (None, None)),
            *((came.source, came.refereed, came.crafted) if (came := site.imports.get(c.key)) else (None, None, None)),
            c.drawn,
        )


CELLS = Table(
    "cells",
    "Cells",
    {"cell": "the cell’s key", "attack": "the attack", "goal": "its goal", "threat": "the ball’s name"}
    | {"eps": "its radius; empty where unbounded", **TARGET, "examples": "how many", "status": "how it ended"}
    | {"reason": "why it failed", "current": "whether it counts on its boards", "stop": "first or end"}
    | {"seed": "of the random draws", "protocol": "version of the rules"}
    | {"precision": "of the attack’s passes; empty for float32", "needs": "what the attack may ask"}
    | {"beyond_gradients": "whether the attack also finds what gradients at the image don't lead to"}
    | {"forwards": "forward passes in all", "backwards": "gradients in all", "seconds": "time to craft"}
    | {"run": "the run of its latest event", "at": "when that was"}
    | {"verified": "whether `advbench verify` found the same facts; empty where it has not refereed these"}
    | {"verified_at": "when that was", "imported_from": "the database that it was merged from"}
    | {"refereed_on_arrival": "whether that merge refereed it"}
    | {"crafted_on_arrival": "whether a merge crafted it again and it came out the same"}
    | {"drawn": "the seed by which its examples were drawn; empty where they are the first of the data set"},
    _cells,
)


def _skips(site: Site) -> Iterator[tuple[Value, ...]]:
    for s in site.skips:
        yield s.dataset, s.target, s.attack, s.threat, s.reason, s.run


SKIPS = Table(
    "skips",
    "Skipped pairs",
    {"dataset": "the data set", "target_label": "the target’s label", "attack": "empty: every attack"}
    | {"ball": "empty: every ball", "reason": "why it did not run", "run": "the run that says so"},
    _skips,
)


def _runs(site: Site) -> Iterator[tuple[Value, ...]]:
    for r in site.runs:
        yield (
            *(r.id, r.started, r.ended, r.how, r.suite, r.seed, r.protocol, r.command, r.cells),
            *(json_value(r.versions), json_value(r.hardware), json_value(r.settings)),
        )


RUNS = Table(
    "runs",
    "Runs",
    {"run": "its id", "started": "UTC", "ended": "empty: cut off", "how": "how it ended", "suite": "its suite"}
    | {"seed": "of the random draws", "protocol": "version of the rules", "command": "as it was typed"}
    | {"cells": "attempts at cells", "versions": "JSON", "hardware": "JSON", "settings": "JSON"},
    _runs,
)


def _datasets(site: Site) -> Iterator[tuple[Value, ...]]:
    for d in site.datasets.values():
        yield d.fingerprint, d.label, json_value(d.classes), json_value(d.shape), d.count, tail(d.source), d.partial


DATASETS = Table(
    "datasets",
    "Data sets",
    {"data_fingerprint": "digest of its images and labels", "dataset": "its name", "classes": "JSON: their names"}
    | {"shape": "JSON: channels, height, width", "examples": "how many it has", "source": "where it was read from"}
    | {"partial": "what is missing of the official set"},
    _datasets,
)


def _plugins(site: Site) -> Iterator[tuple[Value, ...]]:
    for p in site.plugins:
        yield p.run, p.kind, p.label, p.distribution, p.version, p.digest, p.error


PLUGINS = Table(
    "plugins",
    "Plugins",
    {"run": "the run that it took part in", "kind": "of plugin", "plugin": "its name, with parameters"}
    | {"distribution": "who ships it", "version": "of that", "digest": "of its source"}
    | {"error": "why it was set aside; empty where it was not"},
    _plugins,
)
