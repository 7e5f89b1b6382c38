"""What has no weights is trained beside each other: the same bits, and a failure fails its own."""

from __future__ import annotations

import signal
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from learners import registry, suite
from processes import Child, script

from advbench.engines.crew import Engine
from advbench.engines.processes import Processes
from advbench.engines.serial import Serial
from advbench.run.report import Reporter, Summary
from advbench.run.run import run
from advbench.run.session import Settings
from advbench.store import Store, content
from advbench.weights.weight_files import load_weights, state_digest

ENGINES = [Serial(), Processes(1), Processes(2), Processes(2, fresh=True)]
NAMES = ["serial", "one", "two", "fresh"]
EACH = pytest.mark.parametrize("engine", ENGINES, ids=NAMES)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ADVBENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "weights"


def kept(cache: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in cache.glob("*.safetensors")}


class Heard(Reporter):
    """Writes down what it is told of trainings."""

    def __init__(self) -> None:
        self.told: list[tuple[str, float]] = []
        self.over: list[str] = []

    def training(self, target: str, fraction: float, text: str) -> None:
        self.told.append((target, fraction))

    def trained(self, target: str) -> None:
        self.over.append(target)


def evaluate(store: Store, asked: Any, engine: Engine, reporter: Reporter | None = None, **settings: Any) -> Summary:
    return run(asked, store, registry(), replace(Settings(), engine=engine, train=True, **settings), reporter)


def trained(asked: Any, engine: Engine, cache: Path) -> tuple[dict[str, bytes], Mapping[str, Any]]:
    with Store.memory() as store:
        assert evaluate(store, asked, engine).failed == []
        return kept(cache), content(store)


def test_weights_have_the_same_bits_whoever_trains_them_and_in_whatever_number_of_threads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = suite("learner", "learner(seed=1)", defenses=["none", "adversarial-training(threat=linf, steps=2)"])
    before = torch.get_num_threads()
    found = []
    try:
        for threads, name, engine in ((3, "serial", Serial()), (1, "one", Processes(1)), (2, "two", Processes(2))):
            torch.set_num_threads(threads)
            monkeypatch.setenv("ADVBENCH_CACHE", str(tmp_path / name))
            found.append(trained(asked, engine, tmp_path / name / "weights"))
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert len(found[0][0]) == 4
    for one in found[1:]:
        assert one == found[0]


def test_trainings_go_on_beside_each_other_and_each_tells_how_far_it_is(cache: Path, tmp_path: Path) -> None:
    heard, meeting = Heard(), tmp_path / "meeting"
    meeting.mkdir()
    names = [f"meeting(seed={seed}, folder={meeting})" for seed in range(2)]
    with Store.memory() as store:
        assert evaluate(store, suite(*names, "learner"), Processes(2), heard).done == 3
    assert sorted(heard.over) == sorted(set(heard.over)) == sorted({name for name, _ in heard.told})
    assert len(heard.over) == 3
    for name in heard.over:
        fractions = [fraction for target, fraction in heard.told if target == name]
        assert fractions == sorted(fractions)
        assert fractions[-1] == 1


@EACH
def test_a_training_that_fails_fails_its_targets_alone(engine: Engine, cache: Path) -> None:
    with Store.memory() as store:
        summary = evaluate(store, suite("hopeless", "learner"), engine)
        assert summary.done == 1
        ((label, reason),) = summary.failed
        assert (label, "that its recipe asks for" in reason) == ("hopeless", True)
    assert len(kept(cache)) == 1


@pytest.mark.parametrize("engine", ENGINES[1:], ids=NAMES[1:])
def test_a_process_that_dies_in_a_training_fails_its_targets_alone(engine: Engine, cache: Path) -> None:
    """The training is not tried again by the run's own process, which would die as well."""
    with Store.memory() as store:
        summary = evaluate(store, suite("leaving", "learner"), engine)
        assert summary.done == 1
        assert summary.failed == [("leaving", "its process died (exit code 7)")]
    assert len(kept(cache)) == 1


@EACH
def test_who_stops_a_training_leaves_nothing_half_made(engine: Engine, cache: Path) -> None:
    asked = suite("learner(epochs=100000)", "learner(epochs=100000, seed=1)")
    began = time.monotonic()
    with Store.memory() as store:
        summary = evaluate(store, asked, engine, interrupted=lambda: time.monotonic() - began > 1)
        assert summary.interrupted
        assert summary.failed == []
    assert kept(cache) == {}
    assert time.monotonic() - began < 60


LONG = tuple(f"learner(epochs=16, width=20, pause=0.05, seed={seed})" for seed in range(2))
"""So long that a kill lands within, and narrow, since what is unfinished is written after every step."""
TRAINING = f"""
from pathlib import Path
from learners import registry, suite
from advbench.engines.processes import Processes
from advbench.run.report import Reporter
from advbench.run.run import run
from advbench.run.session import Settings
from advbench.store import Store
from advbench.weights import checkpoint

class Loud(Reporter):
    def training(self, target, fraction, text):
        print(fraction, flush=True)

checkpoint.EVERY = 0.0
with Store.open(Path(DATABASE)) as store:
    asked = suite(*{LONG!r})
    summary = run(asked, store, registry(), Settings(engine=Processes(2), train=True), Loud())
    print("over", summary.done, len(summary.failed), flush=True)
"""


def test_a_run_that_is_killed_in_its_trainings_is_begun_again_and_ends_at_the_same_bits(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start() -> Child:
        return script(TRAINING.replace("DATABASE", repr(str(tmp_path / "results.sqlite"))))

    child = start()
    while float(child.stdout.readline()) < 0.1:
        pass
    child.send_signal(signal.SIGKILL)
    child.communicate()
    assert kept(cache) == {}
    child = start()
    out, error = child.communicate(120)
    assert "over 2 0" in out, error
    weights = kept(cache)
    monkeypatch.setenv("ADVBENCH_CACHE", str(tmp_path / "another"))
    asked = suite(*LONG)
    assert trained(asked, Serial(), tmp_path / "another" / "weights")[0] == weights
    for path in cache.glob("*.safetensors"):
        state, header = load_weights(path)
        assert header["content"] == state_digest(state)
    assert not list(cache.glob("*.unfinished"))
