"""What one writer takes, and what that means for a thousand GPUs: `python tests/writer_scale.py`, some four minutes.

Measured: shards that the store takes in, what a driver spends on a cell beside its shards, and what pages of databases
cost. Simulated with these numbers: so many workers, two tasks ahead of each, and one writer. `docs/scale.md` tells what
follows.
"""

from __future__ import annotations

import heapq
import math
import random
import shutil
import subprocess
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import blobs
import scale
import torch

from advbench.run.run import run
from advbench.run.session import Settings
from advbench.store import Store
from advbench.store.artifacts import serialise
from advbench.store.rows import ArtifactRow, OutcomeRow, ShardRow
from advbench.suite.plan import make_plan

EXAMPLES = 500
"""In a shard."""
AHEAD = 2
"""Tasks that a worker has been given and has not given back, as in every engine of processes."""
WORKERS = (8, 64, 256, 1000)
TASKS = 200
"""For each worker, in a simulation."""
RELAY = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, check=True)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(used.ru_utime + used.ru_stime, used.ru_maxrss / 1e3)
"""
"""A small process starts what is measured: a peak of memory begins with that of the process that started it."""


@dataclass(frozen=True)
class Writing:
    """What a shard costs its writer: seconds for its file and for its rows."""

    judges: int
    pixels: int
    file: float
    rows: float
    bytes: int

    @property
    def whole(self) -> float:
        return self.file + self.rows


def writing(folder: Path, *, judges: int, pixels: int, shards: int = 60) -> Writing:
    """The store takes in shards with perturbations of so many numbers, judged on so many targets."""
    file, rows, size = 0.0, 0.0, 0
    with Store.open(folder / f"writing-{judges}-{pixels}.sqlite") as store:
        scale.generate(store, boards=1, targets=judges, attacks=1, examples=EXAMPLES, transfer=False)
        cell = store.read(_Key, "SELECT key FROM cells ORDER BY id LIMIT 1")[0].key
        data = [serialise({"p": torch.rand(EXAMPLES, pixels)}) for _ in range(4)]
        for number in range(1, shards + 1):
            one, sha = data[number % 4], f"{number:064x}"  # what it holds does not matter, only that it is another file
            outcomes = {f"t{judge}": [_outcome(number, place) for place in range(EXAMPLES)] for judge in range(judges)}
            began = time.perf_counter()
            store.artifacts.keep(sha, one)
            written = time.perf_counter()
            shard = ShardRow(number, number * EXAMPLES, EXAMPLES, "run", 64, 1.0, 1, 1, sha)
            store.add_shard(cell, shard, outcomes, ArtifactRow(sha, len(one), "perturbations"))
            rows += time.perf_counter() - written
            file += written - began
            size = len(one)
    return Writing(judges, pixels, file / shards, rows / shards, size)


@dataclass(frozen=True)
class _Key:
    key: str


def _outcome(shard: int, place: int) -> OutcomeRow:
    return OutcomeRow(shard * EXAMPLES + place, None, place % 2, 1, 0.9, None, 0.1, None, None, 1e-6)


@contextmanager
def _counted(note: Callable[[float], None]) -> Iterator[None]:
    began = time.process_time()
    yield
    note(time.process_time() - began)


def driving(path: Path, balls: int) -> tuple[int, float, float, float]:
    """Cells; megabytes of their plan, and seconds to plan one and to go over one that is there already."""
    radii = [f"linf(eps={0.2 + place / 1e5:.5f})" for place in range(balls)]
    suite = blobs.suite(attacks=["noise", "fgsm"], threats=radii, examples=6, shard=6)
    tracemalloc.start()
    plan = make_plan(suite)
    held = tracemalloc.get_traced_memory()[0] / 1e6
    tracemalloc.stop()
    spent: list[float] = []
    with _counted(spent.append):
        make_plan(suite)
    with Store.open(path) as store:
        run(suite, store, blobs.registry(), Settings())
        with _counted(spent.append):
            summary = run(suite, store, blobs.registry(), Settings())
    assert summary.kept == len(plan.cells), summary
    return len(plan.cells), held, spent[0] / len(plan.cells), spent[1] / len(plan.cells)


def rendering(folder: Path, boards: int) -> tuple[int, float, int, float, float]:
    """Outcomes, megabytes of the file, pages; processor seconds and megabytes that `advbench render` takes."""
    path, site = folder / f"rendering-{boards}.sqlite", folder / f"site-{boards}"
    with Store.open(path) as store:
        count = scale.generate(store, boards=boards, targets=20, attacks=20, examples=1000, transfer=False)
    size = path.stat().st_size / 1e6
    command = [sys.executable, "-m", "advbench", "render", "--db", str(path), "--out", str(site)]
    answer = subprocess.run([sys.executable, "-c", RELAY, *command], stdout=subprocess.PIPE, check=True)
    spent, peak = map(float, answer.stdout.split())
    pages = len(list(site.rglob("*.html")))
    path.unlink()
    shutil.rmtree(site)
    return count, size, pages, spent, peak


def simulated(workers: int, task: float, write: float, seed: int = 0) -> float:
    """The share of their time in which workers have something to do.

    A task takes `task` seconds on average, one in twenty of them ten times as long as the others; its result is
    written in `write` seconds by the one writer, which then gives that worker its next task.
    """
    draw = random.Random(seed)
    usual = task / (0.95 + 0.05 * 10)
    lengths = [usual * (10 if draw.random() < 0.05 else 1) for _ in range(workers * TASKS)]
    left, free, busy, last = iter(lengths), 0.0, 0.0, 0.0
    waiting = [0] * workers  # tasks that a worker has and has not begun
    events: list[tuple[float, int, int]] = []  # when, what (0: a task ends, 1: its result is written), whose

    def begin(worker: int, now: float) -> None:
        nonlocal busy
        length = next(left, None)
        if length is not None:
            busy += length
            heapq.heappush(events, (now + length, 0, worker))

    for worker in range(workers):
        begin(worker, 0.0)
        waiting[worker] = AHEAD - 1
    idle: set[int] = set()
    while events:
        now, kind, worker = heapq.heappop(events)
        last = max(last, now)
        if kind == 0:
            free = max(free, now) + write
            heapq.heappush(events, (free, 1, worker))
            if waiting[worker]:
                waiting[worker] -= 1
                begin(worker, now)
            else:
                idle.add(worker)
        elif worker in idle:
            idle.remove(worker)
            begin(worker, now)
        else:
            waiting[worker] += 1
    return busy / (last * workers)


def main() -> None:
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        print(f"shards of {EXAMPLES} examples, as the store takes them in (wall clock, files and journal synced)")
        costs = [writing(folder, judges=judges, pixels=pixels) for judges, pixels in ((1, 784), (4, 784), (1, 3072))]
        for cost in costs:
            rows = EXAMPLES * cost.judges
            print(
                f"  {cost.pixels} numbers, {cost.judges} judges: file {1e3 * cost.file:.1f} ms, rows "
                f"{1e3 * cost.rows:.1f} ms; {rows / cost.whole:,.0f} rows/s, {cost.bytes / 1e6 / cost.whole:.0f} MB/s"
            )
        print("what a driver spends on a cell beside its shards (processor time)")
        for balls in (100, 400):
            count, held, planned, kept = driving(folder / f"driving-{balls}.sqlite", balls)
            print(
                f"  {count} cells: plan {1e6 * planned:.0f} µs and {1e3 * held / count:.1f} kB each, "
                f"a cell that is there {1e3 * kept:.2f} ms"
            )
        print("`advbench render` of whole databases (processor time)")
        for boards in (1, 4, 16):
            count, size, pages, spent, peak = rendering(folder, boards)
            print(
                f"  {count:,} outcomes, {size:.0f} MB ({1e6 * size / count:.0f} bytes each), {pages:,} pages: "
                f"{spent:.1f} s, {1e6 * spent / count:.2f} µs an outcome; {peak:.0f} MB of memory"
            )
    for cost in costs:
        print(f"simulated: share of their time that workers are busy, a shard written in {1e3 * cost.whole:.1f} ms")
        print("  seconds a task " + "".join(f"{workers:>8}" for workers in WORKERS) + "   saturated by")
        for task in (0.1, 1.0, 10.0, 60.0):
            shares = "".join(f"{simulated(workers, task, cost.whole):>8.0%}" for workers in WORKERS)
            print(f"  {task:14g} {shares}   {math.floor(task / cost.whole):,} workers")


if __name__ == "__main__":
    main()
