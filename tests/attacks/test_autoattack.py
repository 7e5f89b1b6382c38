"""AutoAttack: who attacks what is left, what one part alone would miss, and targets that answer by chance."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from advbench import Attack, Problem
from advbench.draws import Draws
from advbench.goal import Goal
from advbench.problem.expected import Expected
from advbench.testing.scene import Scene, scene
from advbench.testing.stage import images
from advbench.threats import L2, Linf, Threat
from advbench_attacks.apgd import APGD
from advbench_attacks.autoattack import AutoAttack
from advbench_attacks.fab import FAB
from advbench_attacks.square import Square

SHAPE = (1, 8, 8)
PIXELS = 64
SHORT = AutoAttack(steps=20, queries=400)
BALLS = {"linf": Linf(0.06), "l2": L2(0.4)}
each_ball = pytest.mark.parametrize("threat", BALLS.values(), ids=BALLS)


class Linear(nn.Module):
    """Logits that are linear, so that the distance of every plane is known where the box does not bind."""

    weight: Tensor

    def __init__(self, classes: int, scale: float = 20) -> None:
        super().__init__()
        self.scale = scale
        self.register_buffer("weight", Draws(0, "planes", torch.arange(classes)).normal(PIXELS))

    def forward(self, x: Tensor) -> Tensor:
        return self.scale * (x - 0.5).flatten(1) @ self.weight.T

    def distances(self, x: Tensor, labels: Tensor, norm: str) -> Tensor:
        """To the plane of every class, infinite for the label's own."""
        logits = self(x)
        gaps = logits.gather(1, labels.view(-1, 1)) - logits
        normals = self.scale * (self.weight.unsqueeze(0) - self.weight[labels].unsqueeze(1))
        length = normals.abs().sum(2) if norm == "linf" else normals.norm(dim=2)
        return (gaps / length).scatter(1, labels.view(-1, 1), torch.inf)


class Stairs(Linear):
    """Sees pixels in 32 shades: what it says changes, but its gradient is zero everywhere."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward((x * 32).floor() / 32)


class Dropout(Linear):
    """Sees another eighth of the pixels every time."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(0.5 + (x - 0.5) * (torch.rand_like(x) < 1 / 8) * 8)


class Whim(Linear):
    """Right, but for one answer in five that is anything."""

    def forward(self, x: Tensor) -> Tensor:
        whim = (torch.rand(len(x), 1) < 0.2) * 1e3
        return super().forward(x) * (1 + 0 * x.sum()) + whim * torch.rand(len(x), len(self.weight))


def greys(count: int) -> Tensor:
    """Images far from black and white, so that no boundary lies behind the box."""
    return 0.5 + 0.2 * (images(count, SHAPE) - 0.5)


def watch(monkeypatch: pytest.MonkeyPatch, seen: Callable[[Attack, Problem], None]) -> None:
    """Calls `seen` before every part."""
    for kind in (APGD, FAB, Square):
        perturb = kind.perturb

        def watched(self: Attack, problem: Problem, perturb: Callable[..., Tensor] = perturb) -> Tensor:
            seen(self, problem)
            return perturb(self, problem)

        monkeypatch.setattr(kind, "perturb", watched)


# Its parts


def test_the_settings_are_those_of_the_paper() -> None:
    assert AutoAttack().parts() == (
        APGD(loss="ce", steps=100),
        APGD(loss="dlr-targeted", steps=100, targets=9),
        FAB(steps=100, targets=9),
        Square(queries=5000, schedule=10_000),
    )
    assert AutoAttack(version="rand").parts() == (APGD(loss="ce", steps=100), APGD(loss="dlr", steps=100))
    assert AutoAttack().draws == 20


@each_ball
def test_every_part_meets_only_what_the_earlier_ones_left(monkeypatch: pytest.MonkeyPatch, threat: Threat) -> None:
    net, x = Linear(5), greys(30)
    optimum = net.distances(x, net(x).argmax(1), threat.name).amin(1)
    stage = scene(threat.at(float(optimum.median())), classes=5, net=net, x=x)
    order: list[Attack] = []
    spent: list[Tensor] = []
    left: list[Tensor] = []

    def seen(part: Attack, problem: Problem) -> None:
        order.append(part)
        spent.append(problem.forwards.clone())
        left.append(problem.active)
        assert torch.equal(problem.active, (~problem.found).nonzero().squeeze(1))

    watch(monkeypatch, seen)
    problem = stage.problem(SHORT, Problem)
    SHORT.perturb(problem)
    assert tuple(order) == SHORT.parts()
    assert 0 < len(left[1]) < len(left[0])
    for before, after, who in zip(spent, [*spent[1:], problem.forwards], left, strict=True):
        gone = torch.ones(30, dtype=torch.bool).index_fill_(0, who, False)
        assert torch.equal(before[gone], after[gone])
        assert (after[who] > before[who]).all()


def test_no_part_is_asked_when_nothing_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    net, x = Linear(5), greys(6)
    optimum = net.distances(x, net(x).argmax(1), "linf").amin(1)
    stage = scene(Linf(float(optimum.max()) * 1.5), classes=5, net=net, x=x)
    assert stage.fooled(SHORT.parts()[0]).all()
    order: list[Attack] = []
    watch(monkeypatch, lambda part, problem: order.append(part))
    assert stage.fooled(SHORT).all()
    assert tuple(order) == SHORT.parts()[:1]


@each_ball
def test_a_linear_classifier_falls_just_outside_its_margin_and_never_inside(threat: Threat) -> None:
    net, x = Linear(5), greys(12)
    labels = net(x).argmax(1)
    optimum = net.distances(x, labels, threat.name).amin(1)
    near, far = float(optimum.min()), float(optimum.max())
    assert scene(threat.at(far * 1.01), classes=5, net=net, x=x).fooled(SHORT).all()
    assert not scene(threat.at(near * 0.99), classes=5, net=net, x=x).fooled(SHORT).any()


@each_ball
def test_it_fools_as_many_as_each_part_alone(threat: Threat) -> None:
    stage = scene(threat.at(threat.eps * 0.6), count=40)
    alone = [int(stage.fooled(part, purpose="autoattack").sum()) for part in SHORT.parts()]
    together = int(stage.fooled(SHORT).sum())
    assert 0 < max(alone) < 40
    assert together >= max(alone)


@each_ball
def test_stopping_at_the_first_success_fools_as_many_as_going_on(threat: Threat) -> None:
    stage = scene(threat.at(threat.eps * 0.6), count=24)
    first, end = (
        stage.fooled(SHORT),
        stage.fooled(SHORT, stop="end"),
    )
    assert 0 < first.sum() < 24
    assert torch.equal(first, end)


# Networks that only one part breaks


def test_masked_gradients_are_broken_by_the_part_that_needs_none() -> None:
    stage = scene(Linf(0.1), classes=5, net=Stairs(5), x=greys(12))
    *gradients, square = SHORT.parts()
    for part in gradients:
        assert not stage.fooled(part, purpose="autoattack").all()
    assert stage.fooled(square, purpose="autoattack").all()
    assert stage.fooled(SHORT).all()


def test_logits_so_large_that_cross_entropy_saturates_are_broken_by_the_parts_that_do_not_mind() -> None:
    net, x = Linear(5, scale=1e5), greys(12)
    optimum = net.distances(x, net(x).argmax(1), "linf").amin(1)
    stage = scene(Linf(float(optimum.max()) * 1.01), classes=5, net=net, x=x)
    cross_entropy, logits_ratio, boundary, _ = SHORT.parts()
    assert not stage.fooled(cross_entropy, purpose="autoattack").all()
    assert stage.fooled(logits_ratio, purpose="autoattack").all()
    assert stage.fooled(boundary, purpose="autoattack").all()
    assert stage.fooled(SHORT).all()


# Goals and numbers of classes


@each_ball
@pytest.mark.parametrize("version", ["standard", "rand"])
@pytest.mark.parametrize("classes", [2, 3, 4])
def test_few_classes_are_no_reason_to_fail(threat: Threat, version: str, classes: int) -> None:
    net, x = Linear(classes), greys(8)
    optimum = net.distances(x, net(x).argmax(1), threat.name).amin(1)
    x = x[optimum > 0.005]  # the referee allows for rounding: some 1e-6 of the ball
    optimum = optimum[optimum > 0.005]
    attack = AutoAttack(version=version, steps=20, queries=200, draws=2)
    assert (
        scene(threat.at(float(optimum.max()) * 1.01), classes=classes, net=net, x=x)
        .fooled(attack, purpose="autoattack")
        .all()
    )
    assert (
        not scene(threat.at(float(optimum.min()) * 0.99), classes=classes, net=net, x=x)
        .fooled(attack, purpose="autoattack")
        .any()
    )


@each_ball
@pytest.mark.parametrize("version", ["standard", "rand"])
def test_all_parts_aim_at_the_class_of_a_cell(monkeypatch: pytest.MonkeyPatch, threat: Threat, version: str) -> None:
    net, x = Linear(5), greys(10)
    attack = AutoAttack(version=version, steps=20, queries=200, draws=2)
    labels = (net(x).argmax(1) + 1) % 5

    def wanted(eps: float) -> Scene:
        return scene(threat.at(eps), True, classes=5, net=net, x=x)

    assert torch.equal(wanted(1).labels, labels)
    assert wanted(threat.eps * 20).fooled(attack, purpose="autoattack").all()
    order: list[Attack] = []
    watch(monkeypatch, lambda part, problem: order.append(part))
    assert not wanted(threat.eps / 1e3).fooled(attack, purpose="autoattack").any()
    assert tuple(order) == attack.parts()


# Targets that answer by chance


def share_fooled(stage: Scene, attack: Attack, draws: int = 50) -> float:
    """How often the target is fooled when it is asked again and again."""
    torch.manual_seed(0)
    problem = stage.problem(attack, Problem)
    x = stage.threat.apply(stage.images, problem.finish(attack.perturb(problem)).detach())
    return float(
        torch.stack([stage.goal.reached(stage.target.logits(x).argmax(1)) for _ in range(draws)]).float().mean()
    )


def masked_by_noise() -> Scene:
    net, x = Dropout(5), greys(16)
    stage = scene(Linf(0.06), classes=5, net=net, x=x)
    return Scene(stage.target, x, Linear.forward(net, x).argmax(1), stage.ids, stage.threat, False)


def test_means_over_draws_beat_single_draws_where_noise_hides_the_gradient() -> None:
    stage = masked_by_noise()
    plain = share_fooled(stage, SHORT)
    averaged = share_fooled(stage, AutoAttack(version="rand", steps=20))
    assert averaged > plain + 0.05


def test_a_success_by_luck_does_not_end_the_search() -> None:
    net, x = Whim(5), greys(16)
    labels = Linear.forward(net, x).argmax(1)
    stage = scene(Linf(1e-4), classes=5, net=net, x=x)
    stage = Scene(stage.target, x, labels, stage.ids, stage.threat, False)
    torch.manual_seed(0)
    found = {}
    for version in ("standard", "rand"):
        problem = stage.problem(SHORT, Problem)
        AutoAttack(version=version, steps=5, queries=20).perturb(problem)
        found[version] = float(problem.found.float().mean())
    assert found["standard"] > 0.9
    assert found["rand"] < 0.5  # whom the clean pass has excused


def test_every_draw_is_a_pass_and_no_budget_is_overspent() -> None:
    stage = masked_by_noise()
    attack = AutoAttack(version="rand", steps=3, draws=4)
    torch.manual_seed(0)
    problem = stage.problem(attack, Problem, stop="end")
    attack.perturb(problem)
    assert problem.forwards.max() == attack.passes(5) == 4 * (4 + 4 + 2)
    assert problem.backwards.max() == 4 * (3 + 3)
    for budget in (3, 10, 25):
        problem = stage.problem(attack, Problem, stop="end", budget=budget)
        attack.perturb(problem)
        assert problem.forwards.max() == budget // 4 * 4


def test_candidates_of_one_example_pay_for_themselves() -> None:
    stage = masked_by_noise()
    problem = Expected.of(stage.problem(SHORT, Problem, stop="end", budget=10), 4)
    of = torch.tensor([3, 3, 5, 3])
    problem.logits(stage.images[of] * 0, of)
    assert problem.forwards[[3, 5, 7]].tolist() == [8, 4, 0]


def test_means_are_those_of_the_draws() -> None:
    stage = masked_by_noise()
    x, goal = stage.images, Goal(stage.labels)
    torch.manual_seed(0)
    problem = stage.problem(SHORT, Problem, batch=len(x), stop="end")
    probe = Expected.of(problem, 3).probe(x * 0, Goal.margin)
    torch.manual_seed(0)
    stage.problem(SHORT)  # asks once, for the clean pass
    q = x.clone().requires_grad_()
    logits = torch.stack([stage.target.logits(q) for _ in range(3)]).mean(0)
    (gradient,) = torch.autograd.grad(goal.margin(logits).sum(), q)
    torch.testing.assert_close(probe.logits, logits.detach())
    torch.testing.assert_close(probe.gradient, gradient)
