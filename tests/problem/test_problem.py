"""What an attack sees: nothing that it finds is lost, nothing undeclared is given, every pass is counted."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
import torch
from torch import Tensor

from advbench import Access, Draws, Goal, Problem
from advbench.errors import AccessError, AdvbenchError, PluginError, TimeUpError
from advbench.problem.batches import BatchSize
from advbench.problem.clock import clock
from advbench.problem.problem import Stop
from advbench.target.referee import judge, render
from advbench.testing.scene import scene
from advbench.testing.stage import StageNet
from advbench.threats import Linf

EVERYTHING = Access.GRADIENTS | Access.SUSPICION


@dataclass
class Threshold:
    """Class 1 where the first pixel exceeds one half: the logits' lead is (pixel - 0.5), suspicion the second pixel."""

    classes: int = 2
    threshold: float | None = None
    scale: float = 1.0
    draws: int = 1
    asked: list[int] = field(default_factory=list)
    room: int = 1000

    def logits(self, images: Tensor) -> Tensor:
        self.asked.append(len(images))
        if len(images) > self.room:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB")
        lead = images[:, 0, 0, 0] - 0.5
        return torch.stack((-lead / 2, lead / 2), 1)

    def suspicion(self, images: Tensor) -> Tensor:
        return images[:, 0, 0, 1]

    def abstains(self, logits: Tensor) -> Tensor | None:
        return None


def problem(
    count: int = 3,
    *,
    target: Threshold | None = None,
    access: Access = Access.GRADIENTS,
    stop: Stop = "first",
    minimizes: bool = False,
    budget: int | None = None,
    deadline: float | None = None,
    batch: int = 4,
    eps: float = 0.3,
    already: Tensor | None = None,
) -> Problem:
    """Grey images a fifth away from the other class."""
    return Problem(
        images=torch.full((count, 1, 1, 2), 0.3),
        goal=Goal(torch.zeros(count, dtype=torch.int64)),
        threat=Linf(eps),
        target=target or Threshold(),
        access=access,
        draws=Draws(0, "test", torch.arange(count)),
        stop=stop,
        minimizes=minimizes,
        budget=budget,
        deadline=deadline,
        batch=BatchSize(batch),
        already=already,
    )


def moved(*steps: float) -> Tensor:
    """Perturbations whose first pixel moves so far."""
    p = torch.zeros(len(steps), 1, 1, 2)
    p[:, 0, 0, 0] = torch.tensor(steps)
    return p


def first_pixels(p: Tensor) -> list[float]:
    return [round(value, 6) for value in p[:, 0, 0, 0].tolist()]


def test_a_success_on_the_way_is_kept_when_the_attack_walks_on_and_loses_it() -> None:
    asked = problem()
    asked.logits(moved(0.25, 0.1, 0.1))
    asked.logits(moved(0.0, 0.28, 0.1))
    assert first_pixels(asked.finish(moved(0.0, 0.0, 0.05))) == [0.25, 0.28, 0.05]


@pytest.mark.parametrize("how", ["labels", "logits", "reached", "gradient", "ascent"])
def test_every_kind_of_question_remembers_the_success_it_sees(how: str) -> None:
    asked = problem()
    getattr(asked, how)(moved(0.25, 0.1, 0.28))
    assert asked.active.tolist() == [1]
    assert first_pixels(asked.finish(moved(0.0, 0.0, 0.0))) == [0.25, 0.0, 0.28]


def test_examples_that_are_done_cost_no_pass_and_have_no_gradient() -> None:
    target = Threshold()
    asked = problem(target=target, batch=1)
    asked.gradient(moved(0.25, 0.1, 0.1))
    target.asked.clear()
    gradient = asked.gradient(moved(0.1, 0.1, 0.1))
    assert len(target.asked) == 2
    assert gradient[:, 0, 0, 0].ne(0).tolist() == [False, True, True]
    assert asked.forwards.tolist() == [1, 2, 2]
    assert asked.backwards.tolist() == [1, 2, 2]
    asked.logits(moved(0.0, 0.28, 0.28))
    assert asked.done
    asked.logits(moved(0.0, 0.0, 0.0))
    assert asked.forwards.tolist() == [1, 3, 3]


def test_projecting_leaves_finished_rows_as_they_are() -> None:
    asked = problem()
    asked.logits(moved(0.25, 0.1, 0.1))
    assert first_pixels(asked.project(moved(0.9, 0.9, -0.9))) == [0.9, 0.3, -0.3]


def test_a_success_outside_the_ball_is_never_remembered() -> None:
    asked = problem(eps=0.22)
    asked.logits(moved(0.23, 0.21, 0.22))
    assert asked.active.tolist() == [0]
    assert first_pixels(asked.finish(moved(0.0, 0.0, 0.0))) == [0.0, 0.21, 0.22]


def test_a_success_outside_the_box_is_never_remembered() -> None:
    asked = problem(eps=5)
    asked.logits(moved(0.71, 0.69, 0.0))
    assert asked.active.tolist() == [0, 2]


def test_a_success_by_a_hair_is_not_yet_one_for_it_may_not_survive_the_fresh_pass() -> None:
    asked = problem()
    asked.logits(moved(0.20005, 0.2002, 0.1))
    assert asked.active.tolist() == [0, 2]


def test_stop_end_goes_on_and_keeps_the_success_with_the_highest_loss() -> None:
    asked = problem(stop="end")
    for step in (0.22, 0.29, 0.25):
        asked.logits(moved(step, 0.1, step))
    assert not asked.done
    assert asked.forwards.tolist() == [3, 3, 3]
    assert first_pixels(asked.finish(moved(0.1, 0.1, 0.1))) == [0.29, 0.1, 0.29]


def test_stop_end_also_looks_at_what_is_returned() -> None:
    asked = problem(stop="end")
    asked.logits(moved(0.22, 0.22, 0.22))
    assert first_pixels(asked.finish(moved(0.1, 0.3, 0.21))) == [0.22, 0.3, 0.22]
    assert asked.forwards.tolist() == [2, 2, 2]


def test_the_smallest_success_is_kept_when_size_is_what_counts() -> None:
    asked = problem(minimizes=True, eps=float("inf"))
    for step in (0.5, 0.21, 0.3):
        asked.logits(moved(step, step + 0.1, 0.1))
    assert not asked.done
    assert first_pixels(asked.finish(moved(0.4, 0.25, 0.2002))) == [0.21, 0.25, 0.2002]


def test_an_example_that_is_wrong_already_is_left_alone() -> None:
    already = torch.tensor([True, False, False])
    for minimizes in (False, True):
        asked = problem(already=already, minimizes=minimizes)
        assert asked.active.tolist() == [1, 2]
        asked.logits(moved(0.25, 0.25, 0.25))
        assert first_pixels(asked.finish(moved(0.2, 0.2, 0.2)))[0] == 0


def test_with_stop_end_an_example_that_is_wrong_already_may_still_be_made_worse() -> None:
    already = torch.tensor([True, True, False])
    asked = problem(already=already, stop="end")
    asked.logits(moved(0.25, 0.1, 0.25))
    assert first_pixels(asked.finish(moved(0.1, 0.1, 0.1))) == [0.25, 0.0, 0.25]


def test_of_several_candidates_for_one_example_the_best_is_kept() -> None:
    of = torch.tensor([0, 0, 0, 2, 2])
    steps = (0.22, 0.29, 0.25, 0.1, 0.21)
    for stop in ("first", "end"):
        asked = problem(stop=stop, batch=8)
        asked.logits(moved(*steps), of)
        kept = first_pixels(asked.finish(moved(0.0, 0.0, 0.0)))
        assert kept == [0.29, 0.0, 0.21]
        assert asked.forwards.tolist()[1:] == ([0, 2] if stop == "first" else [1, 3])
    smallest = problem(minimizes=True)
    smallest.logits(moved(*steps), of)
    assert first_pixels(smallest.finish(moved(0.0, 0.0, 0.0))) == [0.22, 0.0, 0.21]


def test_candidates_get_the_answers_of_their_own_rows() -> None:
    asked = problem(stop="end")
    of = torch.tensor([2, 0, 2])
    leads = asked.logits(moved(0.1, 0.25, 0.05), of).diff(dim=1).squeeze(1)
    torch.testing.assert_close(leads, torch.tensor([-0.1, 0.05, -0.15]))
    assert asked.reached(moved(0.1, 0.25, 0.05), of).tolist() == [False, True, False]
    assert first_pixels(asked.project(moved(0.9, 0.1, -0.9), of)) == [0.3, 0.1, -0.3]
    assert asked.ascent(moved(0.1, 0.25, 0.05), of=of)[:, 0, 0, 0].tolist() == [1, 1, 1]


@pytest.mark.parametrize(
    ("access", "how"),
    [
        (Access.SUSPICION, "labels"),
        (Access.LABELS, "logits"),
        (Access.LOGITS, "gradient"),
        (Access.LOGITS, "ascent"),
        (Access.GRADIENTS, "suspicion"),
        (Access.GRADIENTS, "suspicion_gradient"),
    ],
)
def test_undeclared_access_is_refused_by_name(access: Access, how: str) -> None:
    asked = problem(access=access)
    with pytest.raises(AccessError, match=f"declares `needs` = {access.words}"):
        getattr(asked, how)(moved(0.1, 0.1, 0.1))
    assert asked.forwards.sum() == 0


def test_a_budget_is_never_overdrawn_not_even_by_many_candidates() -> None:
    asked = problem(budget=3)
    asked.logits(moved(0.1, 0.1, 0.1))
    of = torch.tensor([0, 0, 0, 0, 1])
    asked.logits(moved(0.1, 0.1, 0.1, 0.25, 0.1), of)
    assert asked.forwards.tolist() == [3, 2, 1]
    for _ in range(5):
        asked.gradient(moved(0.1, 0.1, 0.1))
    assert asked.forwards.tolist() == [3, 3, 3]
    assert asked.done
    assert first_pixels(asked.finish(moved(0.1, 0.2, 0.3))) == [0.1, 0.2, 0.3]


def test_to_the_end_the_least_suspect_success_is_kept_whatever_the_threshold() -> None:
    asked = problem(count=1, target=Threshold(threshold=0.4), access=EVERYTHING, stop="end")
    tried = torch.tensor([[[[0.25, 0.2]]], [[[0.21, 0.05]]], [[[0.3, 0.15]]]])  # the second leads by least
    for p in tried:
        asked.gradient(p.unsqueeze(0))
    assert torch.equal(asked.best[0], tried[1])
    first = problem(count=1, target=Threshold(threshold=0.1), access=EVERYTHING, stop="first")
    for p in tried:
        first.gradient(p.unsqueeze(0))
    assert torch.equal(first.best[0], tried[2])  # all are detected: the highest loss


def test_passes_that_ask_for_suspicion_are_paid_for_too() -> None:
    asked = problem(access=EVERYTHING, budget=2)
    asked.suspicion(moved(0.1, 0.1, 0.1))
    asked.suspicion_gradient(moved(0.1, 0.1, 0.1))
    assert asked.done
    assert asked.forwards.tolist() == [2, 2, 2]
    assert asked.backwards.tolist() == [1, 1, 1]


def test_an_undetected_success_is_preferred_to_a_detected_one_with_a_higher_loss() -> None:
    asked = problem(access=EVERYTHING, target=Threshold(threshold=0.4))
    loud, quiet = moved(0.29, 0.29, 0.1), moved(0.22, 0.1, 0.1)
    loud[:, 0, 0, 1] = 0.2
    asked.logits(loud)
    asked.logits(quiet)
    asked.logits(loud)
    assert first_pixels(asked.finish(moved(0.0, 0.0, 0.0))) == [0.22, 0.29, 0.0]


@pytest.mark.parametrize("how", ["labels", "gradient", "suspicion", "suspicion_gradient"])
def test_whatever_it_asks_an_attack_is_stopped_after_its_time(how: str) -> None:
    asked = problem(access=EVERYTHING, deadline=clock(torch.device("cpu")) - 1)
    with pytest.raises(TimeUpError, match="time limit"):
        getattr(asked, how)(moved(0.1, 0.1, 0.1))


@pytest.mark.parametrize("how", ["logits", "gradient"])
def test_out_of_memory_halves_the_batch_and_changes_no_answer(how: str) -> None:
    steps = [0.01 * k for k in range(30)]
    tight = Threshold(room=16)
    small, large = problem(30, target=tight, batch=64), problem(30, batch=64)
    assert torch.equal(getattr(small, how)(moved(*steps)), getattr(large, how)(moved(*steps)))
    assert tight.asked == [64, 32, 16, 16]
    assert torch.equal(small.finish(moved(*steps)), large.finish(moved(*steps)))
    assert small.forwards.tolist() == large.forwards.tolist() == [1] * 30


def test_out_of_memory_with_a_single_example_says_what_to_do() -> None:
    with pytest.raises(AdvbenchError, match="even with a batch of one"):
        problem(target=Threshold(room=0)).logits(moved(0.1, 0.1, 0.1))


def test_other_errors_of_a_network_are_not_mistaken_for_a_lack_of_memory() -> None:
    class Broken(Threshold):
        def logits(self, images: Tensor) -> Tensor:
            raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        problem(target=Broken()).logits(moved(0.1, 0.1, 0.1))


def test_a_target_without_gradients_is_named_as_the_cause() -> None:
    class CutOff(Threshold):
        def logits(self, images: Tensor) -> Tensor:
            return super().logits(images).detach()

    with pytest.raises(PluginError, match="no gradient flows"):
        problem(target=CutOff()).gradient(moved(0.1, 0.1, 0.1))


def test_nan_logits_are_no_success() -> None:
    class Confused(Threshold):
        def logits(self, images: Tensor) -> Tensor:
            return super().logits(images) * torch.nan

    asked = problem(target=Confused())
    asked.gradient(moved(0.25, 0.25, 0.25))
    assert asked.active.tolist() == [0, 1, 2]


def test_what_an_attack_writes_into_its_goal_does_not_decide_what_is_remembered() -> None:
    asked = problem()
    asked.goal.labels.fill_(1)
    asked.logits(moved(0.25, 0.1, 0.1))
    assert asked.active.tolist() == [1, 2]


def test_every_remembered_success_survives_the_referees_fresh_pass() -> None:
    # small steps back and forth over the edge, seen at a batch size that is not the referee's
    stage = scene(Linf(0.1), count=40, net=StageNet((1, 8, 8)))
    asked = Problem(
        images=stage.images,
        goal=stage.goal,
        threat=stage.threat,
        target=stage.target,
        access=Access.GRADIENTS,
        draws=Draws(0, "test", stage.ids),
        batch=BatchSize(7),
    )
    p = asked.start()
    for _ in range(200):
        p = asked.project(p + 0.0005 * asked.ascent(p))
    found = torch.ones(40, dtype=torch.bool).index_fill(0, asked.active, False)
    assert found.sum() > 20
    verdicts = judge(stage.target, render(stage.threat, stage.images, asked.finish(p)), stage.goal)
    assert all(verdict.fooled for verdict, kept in zip(verdicts, found.tolist(), strict=True) if kept)


def test_an_image_that_is_wrong_but_detected_is_still_worth_an_attack_that_knows_the_detector() -> None:
    one = problem(2, target=Threshold(threshold=0.5), access=EVERYTHING, already=torch.tensor([True, False]))
    assert one.active.tolist() == [0, 1]


def test_among_undetected_successes_the_smallest_is_kept() -> None:
    one = problem(1, target=Threshold(threshold=0.5), access=EVERYTHING, minimizes=True, eps=float("inf"))
    for step in (0.60, 0.25, 0.45, 0.30):
        one.logits(moved(step))
    assert first_pixels(one.finish(moved(0.6))) == pytest.approx([0.25])
