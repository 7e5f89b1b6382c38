"""A cell crafted again from what a database says of it, and its numbers held against the stored ones."""

from __future__ import annotations

import math
import time
import uuid
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any

from advbench.audit.claims import Known, other_examples, wrong_board, wrong_cell
from advbench.data import Examples
from advbench.engines.alarm import stopped_after
from advbench.engines.serial import Serial
from advbench.errors import TIME_UP, AdvbenchError, TimeUpError, printable
from advbench.plugin import Attack
from advbench.plugins import ball_form
from advbench.plugins.foreign import attributed
from advbench.plugins.registry import Registry
from advbench.protocol import PROTOCOL
from advbench.run.boards import judged_examples, record_dataset, record_examples
from advbench.run.cells import Cells
from advbench.run.hardware import make_repeatable
from advbench.run.missing_weights import missing_weights, refuse_long_training
from advbench.run.provenance import record_run
from advbench.run.ready import Ready, Workshop, clean_rows, stored_plan
from advbench.run.report import Reporter, Summary
from advbench.run.run import FORMED
from advbench.run.session import Session, Settings
from advbench.run.stored import load_dataset, target_named, threat_of
from advbench.store import Store
from advbench.store.outcome_views import largest
from advbench.store.rows import BoardRow, CellRow, OutcomeRow, TargetRow, listed
from advbench.store.standing_views import SAME_BOARD
from advbench.suite.plan import CellPlan
from advbench.suite.suite import Suite
from advbench.target.identity import TargetPlan
from advbench.threats import Threat

PATIENCE = 3600.0
"""Seconds of crafting that a cell may take where somebody asks for it, and says no other number."""
VERDICT = ("goal_label", "predicted", "reached", "violation")


@dataclass(frozen=True)
class Number:
    """How often a cell fools a target, on one board."""

    board: str
    target: str
    n: int
    stored: int
    again: int
    differing: int
    """Examples with another verdict, whether or not the count is the same."""
    turned: int
    """Examples that are fooled in one of the two runs only. Counted at the board's radius, for minimal-norm attacks
    also at the median size, so that a board at whose radius everything is fooled hides no difference."""

    @property
    def same(self) -> bool:
        return self.stored == self.again and not self.differing


@dataclass(frozen=True)
class Reproduced:
    label: str
    examples: int
    seconds: float
    numbers: tuple[Number, ...]
    other_versions: str
    """What differs from when the numbers were made; empty where nothing does."""
    contradictions: tuple[str, ...] = ()
    """What the cell says otherwise than its parameters; it was crafted by its label, in the ball of its board."""

    @property
    def same(self) -> bool:
        return not self.contradictions and all(number.same for number in self.numbers)


def reproduce(
    store: Store,
    registry: Registry,
    cell: CellRow,
    settings: Settings,
    *,
    on: Sequence[str] = (),
    reporter: Reporter | None = None,
    timeout: float | None = None,
) -> Reproduced:
    """Craft a cell again, in a database of its own, with the attack, ball, goal, seed, stop, budget, precision,
    examples and target that it had.

    The attack is the one that its label names here, the ball that of the board on which the cell stands, whatever
    parameters are stored beside them. `on` are labels of other targets to judge the examples on. Weights that are not
    on this machine are trained anew; where that takes long, only if the settings say so. After `timeout` seconds of
    crafting, or of making one target ready, it ends with a `TimeUpError`: a stranger's attack may ask for any number of
    steps, and a stranger's defense for any number of draws. Of a cell of which only some shards are here, the settings
    have to name these as their share.
    """
    began = time.monotonic()
    settings = replace(
        settings, engine=Serial(alarm=True)
    )  # its facts are in memory, and its targets made for it alone
    if cell.protocol != PROTOCOL:
        raise AdvbenchError(
            f"cell {cell.key[:12]} was crafted by protocol {cell.protocol}, this advbench crafts by {PROTOCOL}: "
            "`advbench verify` referees what is stored of it, `advbench run` crafts it anew"
        )
    if settings.share is None and store.cell_status(cell.key) != "done":
        raise AdvbenchError(f"cell {cell.key[:12]} is not done: it has no number yet")
    rows = _targets(store, registry, cell, on)
    dataset, data = load_dataset(registry, settings.folders, cell.dataset, cell.data_fingerprint)
    drawn = store.draws().get(cell.examples)
    examples = judged_examples(data, cell.count, dataset, drawn)
    if examples.fingerprint != cell.examples:
        raise AdvbenchError(f"cell {cell.key[:12]}: {other_examples(cell, drawn)}")
    plans = {row.key: stored_plan(row, dataset, registry) for row in rows}
    suite = _suite(store, cell, rows[0], plans[rows[0].key], timeout)
    attack = registry.attack(cell.attack)
    boards = _boards(store, cell, registry, (dataset, data), drawn)
    threat = _ball(boards, cell, attack, registry)
    ball_form.hold(threat, examples[:FORMED].pixels())
    plan = CellPlan(plans[rows[0].key], attack, threat, cell.goal, cell.count, drawn)
    if not settings.train:
        refuse_long_training(missing_weights(plans.values(), {dataset: data}), settings.device)
    summary = Summary(run=str(uuid.uuid4()))
    with Store.memory() as scratch:
        session = Session(suite, {dataset: data}, scratch, registry, settings, reporter or Reporter(), summary)
        record_run(session, suite, make_repeatable())
        record_dataset(scratch, registry, dataset, data)
        record_examples(scratch, data, examples, drawn)
        ready = {}
        for row in rows:
            label = f"{row.label}: not ready within {timeout:g} s; `--timeout` gives it more" if timeout else ""
            with stopped_after(timeout, label) if timeout else nullcontext():
                target = plans[row.key]
                ready[target] = _ready(session, row, target, examples)
        Cells(session, ready).craft((plan,))
        if summary.failed:
            reason = summary.failed[0][1]
            if timeout is not None and reason.startswith(TIME_UP):
                raise TimeUpError(f"not crafted again within {timeout:g} s; `--timeout` gives it more")
            raise AdvbenchError(f"cell {cell.key[:12]} failed this time: {reason}")
        (fresh,) = scratch.cells()
        numbers = [
            number
            for row in rows
            for number in _numbers(
                boards,
                cell,
                row,
                store.outcomes(cell.key, row.key),
                scratch.outcomes(fresh.key, ready[plans[row.key]].key),
            )
        ]
    label = printable(f"{cell.attack} in {threat.name} on {rows[0].label}")
    other = "" if fresh.key == cell.key else _other(cell, fresh, rows[0], ready[plans[rows[0].key]])
    wrong = tuple(map(printable, wrong_cell(cell, registry, (dataset, data), drawn)))
    return Reproduced(label, len(examples), time.monotonic() - began, tuple(numbers), other, wrong)


def _boards(store: Store, cell: CellRow, registry: Registry, known: Known, drawn: int | None) -> list[BoardRow]:
    """The boards on which the cell stands and that say what they are made from.

    No view is asked, since the database may be a stranger's.
    """
    sql = f"""
        SELECT {listed(BoardRow, "b")} FROM boards b JOIN cells k ON {SAME_BOARD} WHERE k.key = ? ORDER BY b.name, b.key
    """
    return [board for board in store.read(BoardRow, sql, cell.key) if not wrong_board(board, registry, known, drawn)]


def _ball(boards: Sequence[BoardRow], cell: CellRow, attack: Attack, registry: Registry) -> Threat:
    """The ball of the board on which the cell stands, unbounded for attacks that search all of it; else its own."""
    ball = threat_of(boards[0] if boards else cell, registry)
    return ball.at(math.inf) if attack.minimizes and ball.unbounded else ball


def _targets(store: Store, registry: Registry, cell: CellRow, on: Sequence[str]) -> list[TargetRow]:
    """The source first, then those that were asked for; each must have been judged."""
    judged = {key for key, _ in store.judged(cell.key)}
    rows = {row.key: row for row in store.targets()}
    targets = [rows[cell.source]]
    for text in on:
        spelled = {text, target_named(registry, text)}
        named = [row for key, row in rows.items() if key in judged and (row.label in spelled or key.startswith(text))]
        if len(named) != 1:
            known = ", ".join(sorted(rows[key].label for key in judged))
            raise AdvbenchError(
                f"--on {text}: {len(named)} of this cell's targets are called so; it was judged on {known}"
            )
        targets += [row for row in named if row not in targets]
    return targets


def _suite(store: Store, cell: CellRow, source: TargetRow, plan: TargetPlan, timeout: float | None) -> Suite:
    shards = store.shards(cell.key)
    if cell.seed is None:
        raise AdvbenchError(f"cell {cell.key[:12]} names no seed, so that nothing can be crafted as it was")
    return Suite(
        name="reproduce",
        seed=cell.seed,
        stop=cell.stop,  # type: ignore[arg-type]  # any text, if the row is a stranger's
        fit=cell.fit or "calibrate",  # type: ignore[arg-type]
        shard=next(iter(shards.values())).size if shards else cell.count,
        budget=cell.budget,
        timeout=timeout,
        precision=cell.precision or "float32",  # type: ignore[arg-type]
        false_positive_rate=source.false_positive_rate,
        models=(plan.model,),
        defenses=(plan.defenses,),
        boards=(),
    )


def _ready(session: Session, row: TargetRow, plan: TargetPlan, examples: Examples) -> Ready:
    workshop = replace(Workshop.of(session), false_positive_rate=row.false_positive_rate)

    def progress(fraction: float, text: str) -> None:
        session.reporter.training(plan.label, fraction, text)

    with attributed(f"{plan.label}: it can't be made ready"):
        ready, fresh = workshop.ready(plan, session.datasets[plan.dataset], examples, progress)
    if fresh.weights_sha256 != row.weights_sha256:
        raise AdvbenchError(
            f"{plan.label}: the weights here ({fresh.weights_sha256[:12]}) are not those that were judged "
            f"({row.weights_sha256[:12]}); with others there are other numbers"
        )
    session.store.add_target(fresh)
    session.store.add_clean(ready.key, clean_rows(ready))
    return ready


def _numbers(
    boards: Sequence[BoardRow],
    cell: CellRow,
    target: TargetRow,
    stored: Sequence[OutcomeRow],
    again: Sequence[OutcomeRow],
) -> list[Number]:
    usual = _usual(cell, stored)
    radii: dict[str, float | None] = {printable(board.name): board.eps for board in boards} or {
        printable(cell.family): usual
    }
    before = {row.example: row for row in stored}
    after = {row.example: row for row in again}
    differing = sum(_verdict(before.get(e)) != _verdict(after.get(e)) for e in before.keys() | after.keys())
    label, numbers = printable(target.label), []
    for name, radius in radii.items():
        fooled, now = (_examples_fooled(rows, cell, radius) for rows in (stored, again))
        turned = max(
            len(fooled ^ now), len(_examples_fooled(stored, cell, usual) ^ _examples_fooled(again, cell, usual))
        )
        numbers.append(Number(name, label, len(stored), len(fooled), len(now), differing, turned))
    return numbers


def _examples_fooled(rows: Sequence[OutcomeRow], cell: CellRow, radius: float | None) -> set[int]:
    return {row.example for row in rows if fools(row, cell, radius)}


def _usual(cell: CellRow, stored: Sequence[OutcomeRow]) -> float | None:
    """The cell's radius; for the smallest perturbations a size that half of those stored stay below."""
    if not cell.minimizes:
        return None if cell.eps is None else float(cell.eps)
    sizes = sorted(float(row.size) for row in stored if row.reached)
    middle = sizes[len(sizes) // 2 :][:2]  # between two of them, so that rounding moves none across
    return sum(middle) / len(middle) if middle else None


def _verdict(row: OutcomeRow | None) -> tuple[Any, ...] | None:
    return None if row is None else tuple(getattr(row, name) for name in VERDICT)


def fools(outcome: OutcomeRow, cell: CellRow, radius: float | None) -> bool:
    """Whether an outcome fools as the view `judged_outcomes` says it, in a ball that need not be a board's."""
    within = not cell.minimizes or radius is None or outcome.size <= largest(radius)
    return bool(outcome.reached) and outcome.violation is None and within


def _other(cell: CellRow, fresh: CellRow, row: TargetRow, ready: Ready) -> str:
    """Why the key is another one: the source of a plugin has changed since, mostly."""
    parts = []
    old, new = cell.origin or {}, fresh.origin or {}
    if old != new:
        parts.append(f"the attack ({_version(old)} then, {_version(new)} now)")
    if cell.ball != fresh.ball:
        parts.append(f"the ball ({_version(cell.ball or {})} then, {_version(fresh.ball or {})} now)")
    if row.key != ready.key:
        parts.append("the target's plugins or their versions")
    return printable(" and ".join(parts) or "its key")


def _version(origin: Mapping[str, Any]) -> str:
    return f"{origin.get('distribution')} {origin.get('version')}, source {str(origin.get('digest'))[:8]}"
