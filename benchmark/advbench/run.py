"""The whole run: every target ready, every cell crafted once and judged on every target, every fact stored at once."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor

from advbench.cell import Crafted, Job, Shard
from advbench.data import Data, DataFolders, Examples
from advbench.draws import Draws
from advbench.engine import Engine, InProcess, describe
from advbench.errors import AdvbenchError, PluginError, TimeUpError
from advbench.goal import Goal, choose_labels
from advbench.hardware import describe_hardware, describe_versions, make_repeatable
from advbench.passes import BatchSize
from advbench.plan import CellPlan, make_plan
from advbench.plugin import Dataset
from advbench.prepare import Ready, clean_rows, judged_examples, ready_target, record_boards, record_dataset
from advbench.protocol import PROTOCOL
from advbench.referee import Verdict, judge, render
from advbench.registry import Origin, Registry
from advbench.report import Reporter, Summary
from advbench.store import Store
from advbench.stored import packed_part
from advbench.suite import Suite
from advbench.target import content_key


@dataclass(frozen=True)
class Settings:
    """How to run, as opposed to what: nothing here can change a verdict."""

    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    folders: DataFolders = field(default_factory=DataFolders.default)
    batch: int | None = None
    engine: Engine = field(default_factory=InProcess)
    command: str = ""
    interrupted: Callable[[], bool] = lambda: False


class _InterruptedError(Exception):
    """Somebody pressed Ctrl-C; what is stored is whole."""


def run(
    suite: Suite, store: Store, registry: Registry, settings: Settings, reporter: Reporter | None = None
) -> Summary:
    """Run what the database lacks, and say how it ended. Failures are stored with their reason and tried again."""
    reporter = reporter or Reporter()
    began = time.monotonic()
    summary = Summary(run=str(uuid.uuid4()))
    determinism = make_repeatable()
    plan = make_plan(suite)
    summary.skipped = len(plan.skips)
    datasets = {dataset: dataset.load(settings.folders) for dataset in dict.fromkeys(b.dataset for b in suite.boards)}
    for board in suite.boards:
        judged_examples(datasets[board.dataset], board.examples, board.dataset)
    _begin(summary.run, suite, store, registry, settings, determinism)
    how = "failed"
    try:
        for dataset, data in datasets.items():
            record_dataset(store, registry, dataset, data)
        summary.boards = record_boards(store, suite, datasets)
        store.add_skips(summary.run, [asdict(skip) for skip in plan.skips])
        session = _Session(suite, store, registry, settings, reporter, summary, datasets)
        session.prepare(plan.targets)
        session.craft(plan.cells)
        how = "finished"
    except (_InterruptedError, KeyboardInterrupt):
        summary.interrupted = True
        how = "interrupted"
    finally:
        summary.seconds = time.monotonic() - began
        store.end_run(summary.run, how)
    return summary


class _Session:
    """What one run carries from cell to cell."""

    def __init__(
        self,
        suite: Suite,
        store: Store,
        registry: Registry,
        settings: Settings,
        reporter: Reporter,
        summary: Summary,
        datasets: Mapping[Dataset, Data],
    ) -> None:
        self.suite, self.store, self.registry = suite, store, registry
        self.settings, self.reporter, self.summary = settings, reporter, summary
        self.datasets = datasets
        self.ready: dict[Any, Ready] = {}
        self.batch = BatchSize(settings.batch) if settings.batch else BatchSize.auto(settings.device)

    # Targets

    def prepare(self, targets: tuple[Any, ...]) -> None:
        for place, plan in enumerate(targets):
            self._check_interrupted()
            self.reporter.preparing(plan.label, place, len(targets))
            data = self.datasets[plan.dataset]
            counts = [b.examples or len(data.judge) for b in self.suite.boards if b.dataset == plan.dataset]
            try:
                ready, row = ready_target(
                    plan,
                    data,
                    data.judge[: max(counts)],
                    registry=self.registry,
                    false_positive_rate=self.suite.false_positive_rate,
                    device=self.settings.device,
                    progress=self._training(plan.label),
                )
            except AdvbenchError as error:
                if not isinstance(error, PluginError):
                    raise
                self._set_aside(plan, describe(error))
            except Exception as error:
                self._set_aside(plan, describe(error))
            else:
                self.store.add_target(row)
                self.store.add_clean(ready.key, clean_rows(ready))
                self._note(ready)
                self.ready[plan] = ready
                self.summary.targets[ready.key] = plan.label
        self.reporter.preparing("", len(targets), len(targets))

    def _set_aside(self, plan: Any, reason: str) -> None:
        """A target that can't be made ready is shown as failed; the others go on."""
        self.summary.failed.append((plan.label, reason))
        self.store.add_skips(
            self.summary.run,
            [
                {
                    "dataset": plan.dataset.label,
                    "model": plan.model.label,
                    "defenses": "+".join(d.label for d in plan.defenses),
                    "attack": "",
                    "threat": "",
                    "goal": "",
                    "reason": f"failed: {reason}",
                }
            ],
        )
        self.reporter.ended(plan.label, "failed", reason)

    def _note(self, ready: Ready) -> None:
        """What a reader must know before believing a number."""
        if ready.clean.randomised:
            self._add_note(ready, "randomised", "asked twice about the same images, it gave two answers")
        if not bool(ready.clean.finite.all()):
            broken = int((~ready.clean.finite).sum())
            self._add_note(ready, "not finite", f"NaN or infinity on {broken} of {len(ready.examples)} clean images")

    def _add_note(self, ready: Ready, kind: str, reason: str) -> None:
        self.store.add_note(ready.key, kind, reason, self.summary.run)

    def _training(self, label: str) -> Callable[[float, str], None]:
        def progress(fraction: float, text: str) -> None:
            self._check_interrupted()
            self.reporter.training(label, fraction, text)

        return progress

    # Cells

    def craft(self, cells: tuple[CellPlan, ...]) -> None:
        runnable = [cell for cell in cells if cell.source in self.ready]
        self.reporter.planned(len(runnable), sum(len(self._examples(cell)) for cell in runnable))
        for cell in runnable:
            self._check_interrupted()
            self._cell(cell)

    def _examples(self, cell: CellPlan) -> Examples:
        return judged_examples(self.datasets[cell.source.dataset], cell.examples, cell.source.dataset)

    def _cell(self, cell: CellPlan) -> None:
        source = self.ready[cell.source]
        examples = self._examples(cell)
        origin = asdict(self.registry.origin(cell.attack))
        key = cell_key(self.suite, cell, source, examples, origin)
        self.reporter.cell(cell.label)
        self.store.add_cell(self._cell_row(key, cell, source, examples, origin))
        stored = self.store.shards(key)
        # a cell begun with another shard size is finished with that one
        size = int(stored[0]["count"]) if 0 in stored else self.suite.shard
        shards = list(self._shards(cell, source, examples, size))
        missing = tuple(shard for shard in shards if shard.number not in stored)
        for shard in shards:
            if shard.number in stored:
                self.reporter.shard(shard.span, cached=True)
        began = time.monotonic()
        try:
            for crafted in self.settings.engine.craft(self._job(cell, source, missing)) if missing else ():
                self._keep(key, cell, crafted)
                self.reporter.shard(crafted.shard.span, cached=False)
                self._check_interrupted()
            self._judge_newcomers(key, cell, shards)
        except (_InterruptedError, KeyboardInterrupt):
            raise
        except AdvbenchError as error:
            if not isinstance(error, PluginError | TimeUpError):
                raise
            self._fail(key, cell, began, describe(error))
        except Exception as error:
            self._fail(key, cell, began, describe(error))
        else:
            # also for a cell that was there: of those that differ only in seed or version, the last asked for counts
            self.store.add_event(key, self.summary.run, "done", seconds=time.monotonic() - began)
            if missing:
                self.summary.done += 1
            else:
                self.summary.kept += 1
            self.reporter.ended(cell.label, "done" if missing else "kept")

    def _fail(self, key: str, cell: CellPlan, began: float, reason: str) -> None:
        self.store.add_event(key, self.summary.run, "failed", reason, time.monotonic() - began)
        self.summary.failed.append((cell.label, reason))
        self.reporter.ended(cell.label, "failed", reason)

    def _shards(self, cell: CellPlan, source: Ready, examples: Examples, size: int) -> list[Shard]:
        clean = source.clean
        classes = cell.source.dataset.classes
        shards = []
        for number, first in enumerate(range(0, len(examples), size)):
            part = examples[first : first + size]
            place = slice(first, first + len(part))
            draws = Draws(self.suite.seed, f"goal/{cell.goal}", part.ids)
            labels, applies = choose_labels(cell.goal, part.labels, clean.least_likely[place], classes, draws)
            rows = applies.nonzero().squeeze(1)
            shards.append(
                Shard(
                    number=number,
                    first=first,
                    span=len(part),
                    examples=part[rows],
                    goal_labels=labels[rows],
                    predicted=clean.predicted[place][rows],
                    lead=clean.lead[place][rows],
                )
            )
        return shards

    def _job(self, cell: CellPlan, source: Ready, shards: tuple[Shard, ...]) -> Job:
        return Job(
            attack=cell.attack,
            threat=cell.threat,
            targeted=cell.goal != "untargeted",
            source=source.target,
            seed=self.suite.seed,
            stop=self.suite.stop,
            budget=self.suite.budget,
            timeout=self.suite.timeout,
            batch=self.batch.size,
            device=str(self.settings.device),
            shards=shards,
        )

    def _keep(self, key: str, cell: CellPlan, crafted: Crafted) -> None:
        """Judge what was crafted on every target of the data set, and store it in one transaction."""
        if crafted.batch < self.batch.size:
            self.reporter.say(f"out of memory: going on with batches of {crafted.batch}")
            self.batch.size = crafted.batch
        shard = crafted.shard
        x = shard.examples.pixels(self.settings.device)
        p = crafted.p.to(self.settings.device)
        packed = {f"p.{name}": part.cpu() for name, part in cell.threat.pack(x, p).items()}
        sha, size = self.store.artifacts.put({**packed, "example": shard.examples.ids, "goal_label": shard.goal_labels})
        outcomes = self._outcomes(cell, shard, x, p, self._targets(cell))
        self.store.add_shard(
            key,
            {
                "shard": shard.number,
                "first": shard.first,
                "count": shard.span,
                "run": self.summary.run,
                "batch": crafted.batch,
                "seconds": crafted.seconds,
                "forwards": crafted.forwards,
                "backwards": crafted.backwards,
                "artifact": sha,
            },
            outcomes,
            {"sha256": sha, "bytes": size, "kind": "perturbations"},
        )

    def _targets(self, cell: CellPlan) -> list[Ready]:
        """Every target of the data set, the source first."""
        source = self.ready[cell.source]
        others = [r for plan, r in self.ready.items() if plan.dataset == cell.source.dataset and r.key != source.key]
        return [source, *others]

    def _outcomes(
        self, cell: CellPlan, shard: Shard, x: Tensor, p: Tensor, targets: list[Ready]
    ) -> dict[str, list[dict[str, Any]]]:
        rendered = render(cell.threat, x, p)
        goal = Goal(shard.goal_labels.to(x.device), cell.goal != "untargeted")
        return {r.key: outcome_rows(shard, judge(r.target, rendered, goal)) for r in targets}

    def _judge_newcomers(self, key: str, cell: CellPlan, shards: list[Shard]) -> None:
        """Targets that came after a shard was crafted are judged on what is stored of it."""
        judged = self.store.judged(key)
        for shard in shards:
            newcomers = [r for r in self._targets(cell) if (r.key, shard.number) not in judged]
            if not newcomers:
                continue
            self._check_interrupted()
            stored = self.store.artifacts.get(self.store.shards(key)[shard.number]["artifact"])
            x = shard.examples.pixels(self.settings.device)
            p = cell.threat.unpack(x, packed_part(stored, self.settings.device))
            for target_key, rows in self._outcomes(cell, shard, x, p, newcomers).items():
                self.store.add_judgement(key, shard.number, target_key, rows)

    def _cell_row(
        self, key: str, cell: CellPlan, source: Ready, examples: Examples, origin: dict[str, Any]
    ) -> dict[str, Any]:
        unbounded = cell.threat.eps == float("inf")
        return {
            "key": key,
            "dataset": cell.source.dataset.label,
            "data_fingerprint": self.datasets[cell.source.dataset].judge.fingerprint,
            "examples": examples.fingerprint,
            "count": len(examples),
            "threat": cell.threat.name,
            "family": cell.threat.family,
            "params": cell.threat.params(),
            "eps": None if unbounded else cell.threat.eps,
            "minimizes": int(cell.attack.minimizes),
            "attack": cell.attack.label,
            "attack_params": cell.attack.params(),
            "origin": origin,
            "goal": cell.goal,
            "stop": self.suite.stop,
            "source": source.key,
            "seed": self.suite.seed,
            "protocol": PROTOCOL,
            "budget": self.suite.budget,
        }

    def _check_interrupted(self) -> None:
        if self.settings.interrupted():
            raise _InterruptedError


def cell_key(suite: Suite, cell: CellPlan, source: Ready, examples: Examples, origin: Mapping[str, Any]) -> str:
    """A hash of everything that can change the cell's outcome; the target's key stands for data and weights."""
    return content_key(
        {
            "source": source.key,
            "examples": examples.fingerprint,
            "threat": [cell.threat.name, cell.threat.params()],
            "attack": [cell.attack.name, cell.attack.params()],
            "origin": dict(origin),
            "goal": cell.goal,
            "stop": suite.stop,
            "seed": suite.seed,
            "budget": suite.budget,
            "protocol": PROTOCOL,
        }
    )


def outcome_rows(shard: Shard, verdicts: list[Verdict]) -> list[dict[str, Any]]:
    return [
        {"example": example, "goal_label": goal_label, **asdict(verdict), "reached": int(verdict.reached)}
        for example, goal_label, verdict in zip(
            shard.examples.ids.tolist(), shard.goal_labels.tolist(), verdicts, strict=True
        )
    ]


def _begin(
    run: str, suite: Suite, store: Store, registry: Registry, settings: Settings, determinism: dict[str, Any]
) -> None:
    store.begin_run(
        {
            "id": run,
            "suite": suite.name,
            "settings": {**suite.settings, "determinism": determinism},
            "seed": suite.seed,
            "protocol": PROTOCOL,
            "versions": describe_versions(),
            "hardware": describe_hardware(settings.device),
            "command": settings.command,
        }
    )
    store.add_plugins(run, plugin_rows(registry))


def plugin_rows(registry: Registry) -> list[dict[str, Any]]:
    """Who took part, in which version and with which source, and who was set aside."""
    rows = []
    for kind in ("attack", "model", "defense", "data set"):
        for label, plugin in registry.of_kind(kind).items():
            origin = registry.origin(plugin)
            rows.append(_plugin_row(kind, label, origin, None))
    rows += [_plugin_row("broken", b.origin.entry_point, b.origin, b.error) for b in registry.broken]
    return rows


def _plugin_row(kind: str, label: str, origin: Origin, error: str | None) -> dict[str, Any]:
    return {
        "kind": kind,
        "label": label,
        "distribution": origin.distribution,
        "version": origin.version,
        "digest": origin.digest,
        "error": error,
    }
