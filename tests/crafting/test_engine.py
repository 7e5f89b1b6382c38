"""A cell in a process of its own: the same numbers, and whatever happens in there ends there."""

from __future__ import annotations

import importlib
import sys
import time
from collections.abc import Iterator
from types import ModuleType

import pytest
import torch

from advbench import Examples
from advbench.crafting.cell import Crafted, Job, Rules, Shard
from advbench.crafting.engine import InProcess, Isolated
from advbench.errors import AccessError, AdvbenchError, PluginError, TimeUpError
from advbench.plugin import Attack
from advbench.problem.batches import BatchSize
from advbench.testing.stage import StageNet, images, target_of
from advbench.threats import Linf
from advbench_attacks.pgd import PGD

ATTACKS = '''\
"""Attacks that a spawned process can import."""

import os
import signal
import time
from dataclasses import dataclass

from advbench import Access, Attack


@dataclass(frozen=True)
class Bad(Attack):
    name = "bad"
    threats = frozenset({"linf"})
    needs = Access.LABELS


class Hangs(Bad):
    def perturb(self, problem):
        while True:
            pass


class Dawdles(Bad):
    def perturb(self, problem):
        while True:
            problem.labels(problem.start())


class Leaves(Bad):
    def perturb(self, problem):
        os._exit(3)


class Crashes(Bad):
    def perturb(self, problem):
        os.kill(os.getpid(), signal.SIGSEGV)
        time.sleep(60)


class Raises(Bad):
    def perturb(self, problem):
        raise ZeroDivisionError("in the middle")


class Asks(Bad):
    def perturb(self, problem):
        return problem.gradient(problem.start())


class Second(Bad):
    """Fails in the second shard only."""

    def perturb(self, problem):
        if 6 in problem.draws.ids.tolist():
            raise ZeroDivisionError("in the second")
        return problem.start()
'''


@pytest.fixture(scope="module")
def bad(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModuleType]:
    folder = tmp_path_factory.mktemp("attacks")
    (folder / "engine_attacks.py").write_text(ATTACKS)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        yield importlib.import_module("engine_attacks")
    del sys.modules["engine_attacks"]


def job(attack: Attack, timeout: float | None = None) -> Job:
    """Twelve images in two shards."""
    shape = (1, 8, 8)
    source = target_of(StageNet(shape), shape, 10)
    x = images(12, shape)
    answer = source.answer(x, BatchSize(64))
    examples = Examples(x, answer.predicted, torch.arange(12))
    shards = tuple(
        Shard(first // 6, first, 6, examples[part], answer.predicted[part], answer.predicted[part], answer.lead[part])
        for first, part in ((0, slice(0, 6)), (6, slice(6, 12)))
    )
    return Job(attack, Linf(0.05), False, source, Rules(stop="end", timeout=timeout), 8, "cpu", shards)


def isolated(attack: Attack, timeout: float | None = None) -> list[Crafted]:
    return list(Isolated().craft(job(attack, timeout)))


def test_isolation_changes_no_number() -> None:
    attack = PGD(steps=5)
    apart, here = isolated(attack), list(InProcess().craft(job(attack)))
    assert len(apart) == len(here) == 2
    for one, other in zip(apart, here, strict=True):
        assert torch.equal(one.p, other.p)
        assert (one.forwards, one.backwards, one.shard.number) == (other.forwards, other.backwards, other.shard.number)


def test_an_attack_that_hangs_and_asks_nothing_is_stopped(bad: ModuleType) -> None:
    began = time.monotonic()
    with pytest.raises(TimeUpError, match="was stopped"):
        isolated(bad.Hangs(), timeout=0.5)
    assert time.monotonic() - began < 60


@pytest.mark.parametrize(
    ("kind", "error", "words"),
    [
        ("Dawdles", TimeUpError, "ran past its time limit"),
        ("Leaves", PluginError, r"its process died \(exit code 3\)"),
        ("Crashes", PluginError, r"its process died \(SIGSEGV\)"),
        ("Raises", PluginError, "ZeroDivisionError: in the middle"),
        ("Asks", PluginError, "asked for gradients but declares `needs` = labels"),
    ],
)
def test_whatever_ends_the_process_is_a_failure_with_its_reason(
    bad: ModuleType, kind: str, error: type[AdvbenchError], words: str
) -> None:
    with pytest.raises(error, match=words):
        isolated(getattr(bad, kind)(), timeout=1.0 if kind == "Dawdles" else None)


def test_what_was_crafted_before_a_failure_is_kept(bad: ModuleType) -> None:
    crafted = Isolated().craft(job(bad.Second()))
    assert next(crafted).shard.number == 0
    with pytest.raises(PluginError, match="in the second"):
        next(crafted)


def test_an_attack_that_cannot_travel_says_so() -> None:
    class Local(PGD):
        pass

    with pytest.raises(PluginError, match="can't be sent to a process of its own"):
        isolated(Local())


def test_in_process_the_error_is_the_attacks_own(bad: ModuleType) -> None:
    with pytest.raises(AccessError):
        list(InProcess().craft(job(bad.Asks())))
    with pytest.raises(ZeroDivisionError):
        list(InProcess().craft(job(bad.Raises())))
