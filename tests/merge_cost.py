"""A million outcomes in parts of one run, joined: `python tests/merge_cost.py [PARTS] [OUTCOMES] [FOLDER]`.

A run of tiny networks, each cell judged on ten targets, so that its rows cost what they always do and its passes next
to nothing. Seconds are those of the processor.
"""

from __future__ import annotations

import cProfile
import os
import pstats
import sys
import tempfile
import time
from contextlib import nullcontext
from pathlib import Path

import torch
from blobs import registry, suite

from advbench.audit.merging import Checking, merge
from advbench.audit.recrafting import Recrafting
from advbench.data import DataFolders
from advbench.run.part import Part
from advbench.run.run import run
from advbench.run.session import Settings
from advbench.store import Store, content, parts
from advbench.store.incoming import open_incoming

TARGETS = 10
EXAMPLES = 1000
CHECK = 20


def make(folder: Path, count: int, outcomes: int) -> list[Path]:
    """The databases of all parts."""
    cells = outcomes // (TARGETS * EXAMPLES)
    asked = suite(
        data=f"blobs(count={EXAMPLES + 6})",
        models=[f"small(seed={seed})" for seed in range(TARGETS)],
        attacks=["noise(tries=1)"],
        threats=[f"linf(eps={0.01 + 0.3 * place * TARGETS / cells})" for place in range(-(-cells // TARGETS))],
        shard=128,
    )
    paths = [folder / f"part-{number}.sqlite" for number in range(1, count + 1)]
    for number, path in enumerate(paths, 1):
        if not path.exists():
            with Store.open(path) as store:
                summary = run(asked, store, registry(), Settings(share=Part(number, count)))
            assert not summary.failed, summary.failed
    return paths


def join(into: Path, paths: list[Path]) -> tuple[float, int]:
    """Processor seconds, and how many outcomes were new."""
    checking = Checking(registry(), DataFolders.default(), torch.device("cpu"), CHECK, Recrafting(0), parts=True)
    began, new = time.process_time(), 0
    with Store.open(into) as store:
        for path in paths:
            with open_incoming(path) as origin:
                for arrival in merge(store, origin, path.name, checking):
                    assert not arrival.refused, arrival
                    new += arrival.outcomes
    return time.process_time() - began, new


def main(count: int, outcomes: int, folder: Path) -> None:
    paths = make(folder, count, outcomes)
    into = folder / f"all-{os.getpid()}.sqlite"
    profile = cProfile.Profile() if "PROFILE" in os.environ else None
    for what in ("joined", "joined again"):
        with profile or nullcontext():
            seconds, new = join(into, paths)
        print(f"{count} parts {what}: {new:,} outcomes in {seconds:.1f} s with --check {CHECK}", flush=True)
        if profile:
            pstats.Stats(profile).sort_stats("cumulative").print_stats(60)
            profile = cProfile.Profile()
    with Store.open(into, readonly=True) as store:
        done = store.rows("SELECT count(*) AS n FROM cell_state WHERE status = 'done'")[0]["n"]
        print(
            f"{done} cells done; missing: {list(parts.said(store))}; {sum(map(len, content(store).values())):,} facts"
        )


if __name__ == "__main__":
    torch.set_num_threads(1)
    given = dict(enumerate(sys.argv))
    count, outcomes = int(given.get(1, 4)), int(given.get(2, 1_000_000))
    with tempfile.TemporaryDirectory() if len(sys.argv) < 4 else nullcontext(sys.argv[3]) as folder:
        main(count, outcomes, Path(folder))
