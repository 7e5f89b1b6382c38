"""How attacks came out, on their own target and on others."""

from __future__ import annotations

from collections.abc import Iterator

from advbench_leaderboard.facts.rate import rate_of
from advbench_leaderboard.figures.curves import radii
from advbench_leaderboard.site import Site
from advbench_leaderboard.tables.columns import BOARD, TARGET, rate_columns, rate_values
from advbench_leaderboard.tables.form import Table, Value


def _attacks(site: Site) -> Iterator[tuple[Value, ...]]:
    for b in site.boards:
        for e in b.entries:
            for v in e.verdicts.values():
                cell = site.cells[v.cell]
                yield (
                    *(b.key, b.name, e.target.key, e.target.label, v.cell, v.entrant, v.entrant in b.required),
                    *(
                        *rate_values(v.fooled),
                        *rate_values(v.first_right),
                        *rate_values(v.accuracy),
                        *rate_values(v.undetected),
                    ),
                    *(v.mean_size, v.median_size, v.violations, cell.stop, cell.seed),
                    *(cell.forwards / cell.count, cell.backwards / cell.count, cell.seconds),
                )


ATTACKS = Table(
    "attacks",
    "Attacks on targets",
    {**BOARD, **TARGET, "cell": "the cell’s key", "attack": "the attack, with its goal"}
    | {"required": "whether the board requires it"}
    | rate_columns("fooled", "goal reached within the ball")
    | rate_columns("fooled_first_right", "the same, of those right on the clean image")
    | rate_columns("accuracy", "right, clean and under this attack")
    | rate_columns("undetected", "goal reached without an alarm")
    | {
        "mean_size": "of the perturbations that fooled images which were right when clean",
        "median_size": "of the same",
    }
    | {"violations": "perturbations that broke the rules"}
    | {"stop": "first: at the first success; end: at the attack’s end", "seed": "of the random draws"}
    | {"forwards": "forward passes per example", "backwards": "gradients per example", "seconds": "time to craft"},
    _attacks,
)


def _transfer(site: Site) -> Iterator[tuple[Value, ...]]:
    for b in site.boards:
        for one in site.transfer(b.key):
            yield (
                *(b.key, b.name, one.cell, one.entrant, one.source, one.source_label, one.target, one.target_label),
                *(*rate_values(one.rate), *rate_values(rate_of(one.fooled_first_right, one.first_right))),
                *(*rate_values(rate_of(one.undetected, one.n)), one.mean_size, one.violations, one.stop),
            )


TRANSFER = Table(
    "transfer",
    "Transfer between targets",
    {**BOARD, "cell": "the cell’s key", "attack": "the attack, with its goal"}
    | {"source": "the key of the target that it was crafted on", "source_label": "that target’s label"}
    | {"target": "the key of the target that it was judged on", "target_label": "that target’s label"}
    | rate_columns("fooled", "goal reached on the other target")
    | rate_columns("fooled_first_right", "the same, of those that target had right on the clean image")
    | rate_columns("undetected", "goal reached without an alarm of that target")
    | {"mean_size": "of the perturbations that fooled images which were right when clean"}
    | {"violations": "perturbations that broke the rules"}
    | {"stop": "first: at the first success; end: at the attack’s end"},
    _transfer,
)


def _curves(site: Site) -> Iterator[tuple[Value, ...]]:
    for b in site.boards:
        curves = site.curves(b)
        for curve in curves:
            for radius in radii(curves, b.eps, 20):
                yield b.key, b.name, curve.target, curve.label, radius, curve.accuracy(radius), curve.n


CURVES = Table(
    "curves",
    "Accuracy against radius",
    {**BOARD, **TARGET, "radius": "of the ball", "accuracy": "right under all minimal-norm attacks up to it"}
    | {"examples": "how many"},
    _curves,
)


def _detectors(site: Site) -> Iterator[tuple[Value, ...]]:
    for b in site.boards:
        for e in b.entries:
            for row in site.allowances(b, e):
                assert e.undetected is not None  # by that attack the detector is told
                who = (b.key, b.name, e.target.key, e.target.label, e.undetected.cell, e.undetected.entrant)
                yield *who, row.allowed, row.point.false_positives, row.point.undetected


DETECTORS = Table(
    "detectors",
    "Detectors at every threshold",
    {**BOARD, **TARGET, "cell": "the cell’s key", "attack": "the attack that gets past most often"}
    | {"allowed": "false alarms allowed", "false_alarms": "those measured at that threshold"}
    | {"undetected": "fooled without an alarm at that threshold"},
    _detectors,
)


def _classes(site: Site) -> Iterator[tuple[Value, ...]]:
    for b in site.boards:
        for e in b.entries:
            for turns in site.turns(b, e):
                who = (b.key, b.name, e.target.key, e.target.label, turns.cells[0].attack, turns.targeted)
                for (label, answer), turned in sorted(turns.turned.items()):
                    names = (site.class_name(e.target.data_fingerprint, place) for place in (label, answer))
                    yield *who, *names, turned, turns.tried(label, answer)


CLASSES = Table(
    "classes",
    "Which classes become which",
    {**BOARD, **TARGET, "attack": "the attack that fools most often", "targeted": "whether it aims at classes"}
    | {"class": "the true class", "became": "the class answered, or the one aimed at"}
    | {"turned": "examples of the class that became it", "tried": "of so many, all right on the clean image"},
    _classes,
)
