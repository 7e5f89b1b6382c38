"""An attack that asks in lower precision: what it is told, and that only float32 says whether it has succeeded."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from battery import cells
from torch import Tensor

from advbench import Access, Draws, Goal, Linf, Problem
from advbench.pace import as_on_an_accelerator
from advbench.problem.batches import BatchSize
from advbench.problem.buckets import EVERY
from advbench.problem.set_wide import SharedProblem
from advbench.testing.scene import scene
from advbench.threats.shared import Shared

WAYS = pytest.mark.parametrize("waits", [True, False], ids=["looking", "in buckets"])


@dataclass
class Hasty:
    """Class 1 where the first pixel exceeds one half; in lower precision from 0.45 on already, as rounding might."""

    classes: int = 2
    threshold: float | None = None
    scale: float = 1.0
    draws: int = 1
    asked: list[str] = field(default_factory=list)
    """In which precision, question by question."""
    rows: list[int] = field(default_factory=list)

    def logits(self, images: Tensor) -> Tensor:
        low = torch.is_autocast_enabled("cpu")
        self.asked.append("bf16" if low else "float32")
        self.rows.append(len(images))
        lead = images[:, 0, 0, 0] - (0.45 if low else 0.5)
        logits = torch.stack((-lead / 2, lead / 2), 1)
        return logits.bfloat16() if low else logits

    def suspicion(self, images: Tensor) -> Tensor:
        low = torch.is_autocast_enabled("cpu")
        self.asked.append("bf16" if low else "float32")
        return images[:, 0, 0, 1] - (0.5 if low else 0)

    def abstains(self, logits: Tensor) -> Tensor | None:
        return None


def problem(count: int = 3, **more: Any) -> Problem:
    """Grey images a fifth away from the other class, asked about in bf16."""
    settings: dict[str, Any] = {"access": Access.GRADIENTS, "batch": BatchSize(4), "target": Hasty()}
    return Problem(
        images=torch.full((count, 1, 1, 2), 0.3),
        goal=Goal(torch.zeros(count, dtype=torch.int64)),
        threat=Linf(0.3),
        draws=Draws(0, "test", torch.arange(count)),
        **{"precision": "bf16"} | settings | more,
    )


def moved(*steps: float) -> Tensor:
    p = torch.zeros(len(steps), 1, 1, 2)
    p[:, 0, 0, 0] = torch.tensor(steps)
    return p


def first_pixels(p: Tensor) -> list[float]:
    return [round(value, 6) for value in p[:, 0, 0, 0].tolist()]


@WAYS
def test_a_success_in_lower_precision_alone_is_none(waits: bool) -> None:
    asked = problem(waits=waits)
    for _ in range(EVERY):
        asked.logits(moved(0.18, 0.25, 0.1))
    assert asked.found.tolist() == [False, True, False]
    assert asked.active.tolist() == [0, 2], "who has not succeeded goes on"
    assert first_pixels(asked.best) == [0.0, 0.25, 0.0]
    assert first_pixels(asked.finish(moved(0.05, 0.05, 0.05))) == [0.05, 0.25, 0.05]


@WAYS
def test_who_was_refused_may_succeed_later(waits: bool) -> None:
    asked = problem(waits=waits)
    for _ in range(EVERY):
        asked.gradient(moved(0.18, 0.1, 0.1))
    for _ in range(EVERY):
        asked.gradient(moved(0.25, 0.1, 0.1))
    assert first_pixels(asked.finish(moved(0.0, 0.0, 0.0))) == [0.25, 0.0, 0.0]


@WAYS
@pytest.mark.parametrize("minimizes", [False, True])
def test_what_is_refused_gives_way_to_what_was_confirmed_before(waits: bool, minimizes: bool) -> None:
    asked = problem(1, waits=waits, stop="end", minimizes=minimizes)
    asked.logits(moved(0.25))
    assert asked.found.tolist() == [True]
    asked.logits(moved(0.18))  # smaller, and no success
    assert first_pixels(asked.best) == [0.25]
    assert asked.found.tolist() == [True]
    asked.logits(moved(0.22 if minimizes else 0.28))
    assert first_pixels(asked.best) == [0.22 if minimizes else 0.28]


@WAYS
def test_of_several_candidates_the_best_is_confirmed_and_one_pass_counted_for_it(waits: bool) -> None:
    asked = problem(1, waits=waits, stop="end")
    asked.logits(moved(0.25, 0.29, 0.1), of=torch.zeros(3, dtype=torch.int64))
    assert first_pixels(asked.best) == [0.29]
    assert asked.forwards.tolist() == [4]


@WAYS
def test_the_confirming_passes_are_float32_s_and_counted(waits: bool) -> None:
    target = Hasty()
    asked = problem(target=target, waits=waits)
    for _ in range(EVERY):
        asked.logits(moved(0.25, 0.1, 0.1))
    assert asked.found.tolist() == [True, False, False]
    assert target.asked[:2] == (["bf16", "float32"] if waits else ["bf16", "bf16"])
    assert target.asked.count("float32") == 1
    assert asked.forwards.tolist() == ([2, EVERY, EVERY] if waits else [EVERY + 1] * 3)
    assert asked.asked == len(target.asked)


def test_nothing_is_confirmed_where_nothing_looks_like_a_success() -> None:
    target = Hasty()
    asked = problem(target=target, waits=True)
    asked.logits(moved(0.1, 0.1, 0.1))
    asked.gradient(moved(0.1, 0.1, 0.1))
    assert target.asked == ["bf16", "bf16"]


@WAYS
@pytest.mark.parametrize("budget", [2, 3, 9, 10])
@pytest.mark.parametrize("stop", ["first", "end"])
def test_a_budget_pays_for_confirming_too_and_is_never_overdrawn(waits: bool, budget: int, stop: str) -> None:
    asked = problem(waits=waits, budget=budget, stop=stop)
    for step in range(30):
        asked.gradient(moved(0.16 + 0.001 * step, 0.25 + 0.001 * step, 0.1))
        assert asked.found.tolist()[0] is False
        assert int(asked.forwards.max()) <= budget
    assert asked.found.tolist() == [False, True, False]


@WAYS
def test_a_budget_holds_for_many_candidates(waits: bool) -> None:
    asked = problem(1, waits=waits, budget=5, stop="end", batch=BatchSize(2))
    asked.logits(moved(*[0.16 + 0.01 * step for step in range(12)]), of=torch.zeros(12, dtype=torch.int64))
    assert asked.found.tolist() == [False], "the four that it can pay for do not hold"
    assert asked.forwards.tolist() == [5]


def test_what_the_attack_is_told_is_float32_though_it_is_asked_in_bf16() -> None:
    asked = problem()
    probe = asked.probe(moved(0.1, 0.1, 0.1))
    assert (probe.gradient.dtype, probe.logits.dtype) == (torch.float32, torch.float32)
    assert probe.loss is not None
    assert probe.loss.dtype == torch.float32
    assert asked.jacobian(moved(0.1, 0.1, 0.1), torch.zeros(3, 1, dtype=torch.int64)).gradient.dtype == torch.float32
    assert not torch.is_autocast_enabled("cpu")


def test_whether_an_alarm_is_raised_is_asked_in_float32() -> None:
    target = Hasty(threshold=0.2)
    asked = problem(1, target=target, access=Access.GRADIENTS | Access.SUSPICION)
    asked.logits(moved(0.25))
    assert asked.found.tolist() == [True]
    assert asked.active.tolist() == [0], "its suspicion of 0.3 is above the threshold, whatever bf16 says"
    assert "float32" in target.asked
    assert asked.suspicion(moved(0.25)).tolist() == pytest.approx([-0.2]), "what the attack is told is bf16's"


def test_one_perturbation_for_all_is_asked_about_in_bf16_and_keeps_its_whole_budget() -> None:
    target = Hasty()
    asked = SharedProblem(
        images=torch.full((3, 1, 1, 2), 0.3),
        goal=Goal(torch.zeros(3, dtype=torch.int64)),
        threat=Shared.of(Linf(0.3)),
        target=target,
        access=Access.GRADIENTS,
        draws=Draws(0, "test", torch.arange(3)),
        batch=BatchSize(4),
        budget=2,
        precision="bf16",
    )
    asked.gradient(moved(0.25))
    asked.gradient(moved(0.25))
    assert target.asked == ["bf16", "bf16"]
    assert asked.forwards.tolist() == [2, 2, 2]


CELLS = {name: (attack, threat, targeted) for name, attack, threat, targeted in cells()}


@pytest.mark.parametrize("name", [name for name in CELLS if name.split()[0] in ("pgd", "apgd", "fmn", "square", "cw")])
def test_real_attacks_succeed_in_bf16_on_both_paths(name: str) -> None:
    attack, threat, targeted = CELLS[name]
    stage = scene(threat, targeted, count=6)
    fooled = []
    for way, precision in ((nullcontext, "float32"), (nullcontext, "bf16"), (as_on_an_accelerator, "bf16")):
        with way():
            asked = stage.problem(attack, Problem, batch=64, precision=precision)
            p = asked.finish(asked.start() if asked.done else attack.perturb(asked)).detach()
        verdicts = stage.verdicts(p)
        assert not any(one.violation for one in verdicts)
        held = [one.fooled for one in verdicts]
        assert all(one or not found for one, found in zip(held, asked.found.tolist(), strict=True)), "what it has found"
        fooled.append(sum(held))
    assert max(fooled) - min(fooled) <= 1
