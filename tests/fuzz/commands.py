"""Command lines that nobody meant."""

from __future__ import annotations

import os
from random import Random

from fuzz.scene import ODD, Kind, Scene

COMMANDS = ("run", "plan", "plugins", "show", "compare", "verify", "reproduce", "merge", "export", "render", "train")
OPTIONS = (
    *("--db", "--board", "--cells", "--sweeps", "--detectors", "--examples", "--seed", "--attack", "--model"),
    *("--defense", "--threat", "--goal", "--dataset", "--data", "--device", "--offline", "--strict", "--out"),
    *("--check", "--keep-boards", "--mark", "--no-mark", "--on", "--fail-under", "--fail-if-worse", "--with-database"),
    *("--help", "-h", "--version", "--stop", "--budget", "--batch-size", "--isolate", "--"),
)
BALLS = ("linf(eps=1e308)", "l2(eps=1e308)", "rotate-shift(eps=1e308)", "wasserstein(eps=1e308)", "linf(eps=0.1)")


def case(scene: Scene, draw: Random, number: int) -> str:
    folder = scene.place("command")
    os.chdir(folder)
    db = scene.copy("command-db") if draw.random() < 0.5 else scene.db
    words = [
        *(str(scene.suite), str(db), str(db), "toy", "toy(seed=1)", "noise", "pgd(steps=3)", "toy-blots/linf/0.2"),
        *("mine.npz", "mine.sqlite", "cpu", "a", "1", "2", "0.5", os.fsdecode(b"\xff\xfe.sqlite"), "b" * 5000),
        *BALLS,
    ]
    command = draw.choice(COMMANDS)
    given: list[str] = [command] if draw.random() < 0.95 else []
    if command in ("run", "plan"):  # an embedded suite is an honest hour's work
        given.append(str(scene.suite))
    for _ in range(draw.randrange(6)):
        if draw.random() < 0.5:
            given.append(draw.choice(OPTIONS))
        given.append(draw.choice(words) if draw.random() < 0.7 else draw.choice(ODD))
    if any("\0" in word for word in given):  # no process can be given one
        given = [word.replace("\0", "") for word in given]
    if "--db" not in given and command in ("show", "compare", "verify", "reproduce", "export", "render"):
        given += ["--db", str(db)]
    if command == "run":
        given += ["--examples", "2"]
    ended = scene.advbench(*given)
    return f"{ended.improper}: {[word[:80] for word in given]}" if ended.improper else ""


KIND = Kind(2_000, case, seconds=60)
