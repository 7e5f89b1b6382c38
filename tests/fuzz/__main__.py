"""`python tests/fuzz`: each kind's cases, one after the other; a finding is printed with what repeats it."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from random import Random

sys.path[0] = str(Path(__file__).parents[1])  # `commands` and `weights` of others are not shadowed

from fuzz import artifacts, commands, databases, rows, specs, suites, weights  # noqa: E402
from fuzz.scene import Kind, Scene, Watched  # noqa: E402

KINDS: dict[str, Kind] = {
    "suites": suites.KIND,
    "specs": specs.KIND,
    "commands": commands.KIND,
    "weights": weights.KIND,
    "artifacts": artifacts.KIND,
    "databases": databases.KIND,
    "rows": rows.KIND,
}
MOST = 20
"""Findings of a kind that are printed; the others are counted."""


def main() -> int:
    asked = argparse.ArgumentParser(prog="fuzz", description=__doc__)
    asked.add_argument("--seed", type=int, default=0)
    asked.add_argument("--kinds", nargs="*", choices=KINDS, default=list(KINDS), metavar="KIND", help=", ".join(KINDS))
    asked.add_argument("--count", type=int, help="so many cases of each kind, instead of its own number")
    asked.add_argument("--first", type=int, default=0, help="begin with this case of each kind")
    asked.add_argument("--case", type=int, help="this case alone")
    asked.add_argument("--minutes", type=float, default=120, help="of the whole; kinds share what is left")
    given = asked.parse_args()
    end = time.monotonic() + 60 * given.minutes
    found = 0
    with tempfile.TemporaryDirectory(prefix="advbench-fuzz-") as folder:
        scene = Scene.made(Path(folder))
        for place, name in enumerate(given.kinds):
            share = (end - time.monotonic()) / (len(given.kinds) - place)
            found += one_kind(name, KINDS[name], scene, given, time.monotonic() + share)
    return 1 if found else 0


def one_kind(name: str, kind: Kind, scene: Scene, given: argparse.Namespace, end: float) -> int:
    """How many of its cases found something."""
    began, done, found = time.monotonic(), 0, 0
    count = min(given.count or kind.count, kind.most or sys.maxsize)
    for number in range(given.first, count) if given.case is None else [given.case]:
        if time.monotonic() > end:
            break
        draw = Random(f"{given.seed} {name} {number}")  # a case is the same whatever ran before it
        with Watched(kind.seconds) as watched:
            watched.told = kind.case(scene, draw, number)
        done += 1
        if watched.told:
            found += 1
            if found <= MOST:
                again = f"--kinds {name} --seed {given.seed} --case {number}"
                print(f"FOUND {again}: {watched.told}", flush=True)
    took = f"{done} of {count - given.first} cases in {time.monotonic() - began:.0f} s"
    print(f"{name}: {took}, {found} found something", flush=True)
    return found


if __name__ == "__main__":
    sys.exit(main())
