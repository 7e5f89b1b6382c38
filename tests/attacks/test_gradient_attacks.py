"""FGSM, BIM, MI-FGSM, PGD and APGD: closed-form answers, the papers' formulas written a second time, passes counted."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from advbench import AdvbenchError, Attack, Problem, evaluate
from advbench.draws import Draws
from advbench.goal import Goal
from advbench.problem.problem import Loss, Probe, Stop
from advbench.testing.scene import Scene, scene, steadfast
from advbench.testing.stage import BALLS, HalfSpace, StageNet, images, target_of
from advbench.threats import L2, Linf, Threat
from advbench_attacks import apgd
from advbench_attacks.apgd import APGD, checkpoints
from advbench_attacks.bim import BIM
from advbench_attacks.common.losses import aimed_dlr, dlr
from advbench_attacks.fgsm import FGSM
from advbench_attacks.mi_fgsm import MIFGSM
from advbench_attacks.pgd import PGD

SHAPE = (1, 8, 8)
LOSSES = ("ce", "dlr", "dlr-targeted")


def judged(stage: Scene, attack: Attack, stop: Stop = "first", seed: int = 0) -> Tensor:
    problem = stage.problem(attack, Problem, stop=stop, seed=seed)
    return problem.finish(attack.perturb(problem))


# Where the nearest boundary is known

CROSSING: list[Attack] = [
    BIM(),
    MIFGSM(),
    PGD(start="image", loss="margin"),
    PGD(travel=4.0, loss="dlr", restarts=2),
    PGD(start="image", rule="sgd", rate=1.0),
    *(APGD(steps=20, loss=loss) for loss in LOSSES),
]


@pytest.mark.parametrize("targeted", [False, True], ids=["untargeted", "targeted"])
@pytest.mark.parametrize("threat", ["linf", "l2"])
@pytest.mark.parametrize("attack", CROSSING, ids=lambda attack: attack.label)
def test_a_plane_is_crossed_one_percent_outside_its_distance_and_never_inside(
    attack: Attack, threat: str, targeted: bool
) -> None:
    plane, distance = HalfSpace(SHAPE), 0.2
    x = torch.cat([plane.beside(5, distance), plane.beside(5, -distance)])
    for factor, wins in ((1.01, True), (0.99, False)):
        eps = factor * plane.margin(threat, distance)
        ball: Threat = Linf(eps) if threat == "linf" else L2(eps)
        stage = scene(ball, targeted, shape=SHAPE, classes=2, net=plane, x=x)
        assert stage.fooled(attack).tolist() == [wins] * 10


class Planes(nn.Module):
    """Linear logits of five classes."""

    weight: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("weight", Draws(0, "test/planes", torch.arange(5)).normal(math.prod(SHAPE)))

    def forward(self, x: Tensor) -> Tensor:
        return (x - 0.5).flatten(1) @ self.weight.T


@pytest.mark.parametrize(("threat", "dual"), [(Linf(0.1), 1), (L2(0.5), 2)], ids=["linf", "l2"])
def test_the_nearest_of_several_planes_is_found_although_another_class_is_likelier(threat: Threat, dual: int) -> None:
    net = Planes()
    x = 0.5 + 0.05 * (images(200, SHAPE) - 0.5)
    logits = net(x)
    labels = logits.argmax(1)
    gaps = logits.gather(1, labels[:, None]) - logits
    distances = (gaps / (net.weight[labels][:, None] - net.weight).norm(p=dual, dim=2)).nan_to_num(torch.inf)
    second = logits.scatter(1, labels[:, None], -torch.inf).argmax(1)
    hard = (distances.argmin(1) != second).nonzero().squeeze(1)[:6]
    assert len(hard) == 6
    for row in hard.split(1):
        for factor, wins in ((1.02, True), (0.98, False)):
            ball = threat.at(factor * float(distances[row].min()))
            stage = scene(ball, shape=SHAPE, classes=5, net=net, x=x[row])
            assert stage.fooled(APGD(steps=20, loss="dlr-targeted")).tolist() == [wins]


# The papers' formulas, a second time


@dataclass(frozen=True)
class Before(PGD):
    """PGD as it was when it had two parameters."""

    def perturb(self, problem: Problem) -> Tensor:
        p = problem.start(random=True)
        for _ in range(self.steps):
            p = problem.project(p + self.travel * problem.eps / self.steps * problem.ascent(p))
        return p


@pytest.mark.parametrize("stop", ["first", "end"])
@pytest.mark.parametrize("name", BALLS)
def test_pgd_at_its_defaults_gives_bit_for_bit_what_it_gave_with_two_parameters(name: str, stop: Stop) -> None:
    stage = scene(BALLS[name], count=12)
    old, new = judged(stage, Before(steps=10), stop), judged(stage, PGD(steps=10), stop)
    assert torch.equal(old, new)
    assert (old - stage.threat.identity(stage.images)).abs().max() > 0


def test_a_step_in_the_balls_units_is_that_long_whatever_the_radius() -> None:
    stage = grey(Linf(0.3))
    for attack in (FGSM(step=0.05), BIM(steps=1, step=0.05), MIFGSM(steps=1, step=0.05)):
        p = judged(stage, attack)
        assert p.abs().amax((1, 2, 3)).tolist() == pytest.approx([0.05] * 8)
    assert FGSM().label == "fgsm"
    assert FGSM(step=0.05).label == "fgsm(step=0.05)"
    twice = judged(stage, BIM(steps=2, step=0.2))
    assert twice.abs().max() <= stage.threat.eps


def gradient_of(stage: Scene, p: Tensor) -> Tensor:
    q = p.clone().requires_grad_()
    return torch.autograd.grad(stage.goal.cross_entropy(stage.target.logits(stage.images + q)).sum(), q)[0]


def grey(threat: Threat) -> Scene:
    """Images far from black and white, none of which can be fooled, as many as a batch has rows."""
    net = Stubborn(StageNet(SHAPE))
    x = 0.5 + 0.2 * (images(8, SHAPE) - 0.5)
    return Scene(target_of(net, SHAPE, 10), x, net(x).argmax(1), torch.arange(8), threat, targeted=False)


class Stubborn(nn.Module):
    """A network's answers with a class of its own before them all, but softly enough for gradients."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.net(x)
        return 0.1 * logits + 5 * nn.functional.one_hot(torch.zeros(len(x), dtype=torch.int64), 10)


def test_mi_fgsm_gathers_gradients_of_unit_length() -> None:
    stage = grey(Linf(0.1))
    p, gathered = torch.zeros_like(stage.images), torch.zeros_like(stage.images)
    for _ in range(6):
        gradient = gradient_of(stage, p)
        gathered = 0.9 * gathered + gradient / gradient.abs().sum((1, 2, 3), keepdim=True)
        p = (p + 0.1 / 6 * gathered.sign()).clamp(-0.1, 0.1)
    assert torch.allclose(judged(stage, MIFGSM(steps=6, decay=0.9)), p, atol=1e-6)


def test_mi_fgsm_without_momentum_is_bim() -> None:
    for threat in (Linf(0.1), L2(0.5)):
        stage = grey(threat)
        mi_fgsm, bim = judged(stage, MIFGSM(steps=5, decay=0)), judged(stage, BIM(steps=5, travel=1))
        assert torch.allclose(mi_fgsm, bim, atol=1e-6)


@pytest.mark.parametrize(
    ("rule", "rate", "optimiser"),
    [
        ("sgd", 0.5, lambda p: torch.optim.SGD([p], lr=0.5, maximize=True)),
        ("adam", 0.004, lambda p: torch.optim.Adam([p], lr=0.004, maximize=True)),
    ],
)
def test_sgd_and_adam_move_as_torchs_own_do(
    rule: str, rate: float, optimiser: Callable[[Tensor], torch.optim.Optimizer]
) -> None:
    stage = grey(Linf(0.2))
    p = torch.zeros_like(stage.images, requires_grad=True)
    moves = optimiser(p)
    for _ in range(10):
        p.grad = gradient_of(stage, p.detach())
        moves.step()
    found = judged(stage, PGD(steps=10, rule=rule, rate=rate, start="image"))
    assert 0.001 < p.detach().abs().max() < 0.2
    assert torch.allclose(found, p.detach(), atol=1e-5)


def test_a_sign_step_is_as_long_as_a_steepest_one_and_moves_all_pixels_alike() -> None:
    stage = grey(Linf(0.2))
    signs, steepest = (judged(stage, PGD(steps=5, rule=rule)) for rule in ("sign", "steepest"))
    assert torch.equal(signs, steepest)
    stage = grey(L2(0.5))
    found = judged(stage, PGD(steps=1, step=0.25, rule="sign", start="image")).flatten(1)
    assert torch.allclose(found.norm(dim=1), torch.full((len(found),), 0.25))
    assert torch.allclose(found.abs(), found.abs().amax(1, keepdim=True).expand_as(found))
    assert torch.equal(found.sign(), gradient_of(stage, torch.zeros_like(stage.images)).flatten(1).sign())


class Recorder(Problem):
    """Keeps every point and every aim that it was asked about."""

    def __init__(self, **given: object) -> None:
        super().__init__(**given)  # type: ignore[arg-type]
        self.points: list[Tensor] = []
        self.aims: list[Tensor] = []

    def probe(
        self, p: Tensor, loss: Loss = Goal.cross_entropy, of: Tensor | None = None, aim: Tensor | None = None
    ) -> Probe:
        self.points.append(p)
        if aim is not None:
            self.aims.append(aim)
        return super().probe(p, loss, of, aim)


def algorithm_1(stage: Scene, row: int, start: Tensor, steps: int) -> list[Tensor]:
    """Auto-PGD of one image in l∞, as the paper writes it; the points at which it asks for a gradient."""
    x, eps = stage.images, stage.threat.eps
    batch = torch.zeros_like(x)

    def ask(p: Tensor) -> tuple[float, Tensor]:
        batch[row] = p
        value = stage.goal.cross_entropy(stage.target.logits(x + batch))[row]
        return float(value), gradient_of(stage, batch)[row].sign()

    def inside(p: Tensor) -> Tensor:
        return p.clamp(-eps, eps).clamp(-x[row], 1 - x[row])

    shares = [0.0, 0.22]
    while shares[-1] < 1:
        shares.append(shares[-1] + max(shares[-1] - shares[-2] - 0.03, 0.06))
    w = [math.ceil(round(share * steps, 6)) for share in shares]
    eta, points = 2 * eps, [start]
    value, up = ask(start)
    best = (value, start, up)
    current = value
    checked, halved_before, rises, last = -math.inf, False, 0, 0
    before = start
    for k in range(steps):
        if k:
            value, up = ask(points[-1])
            rises += value > current
            current = value
            if value > best[0]:
                best = (value, points[-1], up)
        p = points[-1]
        if k in w[1:]:
            halved = rises < 0.75 * (k - last) or (not halved_before and best[0] == checked)
            if halved:
                eta /= 2
                (current, p, up) = best
            checked, halved_before, rises, last = best[0], halved, 0, k
        z = inside(p + eta * up)
        after = z if k == 0 else inside(p + 0.75 * (z - p) + 0.25 * (p - before))
        before = p
        points.append(after)
    return points[:steps]


def test_apgd_asks_at_the_points_of_the_papers_algorithm() -> None:
    stage, attack = grey(Linf(0.05)), APGD(steps=40)
    problem = stage.problem(attack, Recorder)
    attack.perturb(problem)
    assert isinstance(problem, Recorder)
    for row in range(len(stage.images)):
        expected = algorithm_1(stage, row, problem.points[0][row], 40)
        assert len(problem.points) == len(expected) == 40
        for k, (mine, theirs) in enumerate(zip(problem.points, expected, strict=True)):
            assert torch.allclose(mine[row], theirs, atol=1e-6), (row, k)


def test_the_checkpoints_of_a_hundred_steps_are_those_of_the_paper() -> None:
    assert list(checkpoints(100)) == [22, 41, 57, 70, 80, 87, 93, 99]
    assert list(checkpoints(100).values()) == [22, 19, 16, 13, 10, 7, 6, 6]
    for steps in range(1, 60):
        found = checkpoints(steps)
        assert all(0 < k < steps for k in found)
        assert all(window > 0 for window in found.values())
        assert sum(found.values()) == max(found, default=0)


def test_apgds_step_halves_at_checkpoints_and_nowhere_else(monkeypatch: pytest.MonkeyPatch) -> None:
    lengths: list[Tensor] = []
    moved = apgd.moved

    def seen(problem: Problem, walk: apgd.Walk, *more: Any, first: bool) -> apgd.Walk:
        lengths.append(walk.η)
        return moved(problem, walk, *more, first=first)

    monkeypatch.setattr(apgd, "moved", seen)
    stage = grey(Linf(0.05))
    judged(stage, APGD(steps=40))
    assert lengths[0].tolist() == pytest.approx([0.1] * len(stage.images))
    halvings = 0
    for k in range(1, 40):
        ratio = lengths[k] / lengths[k - 1]
        assert ((ratio == 1) | (ratio == 0.5)).all()
        assert k in checkpoints(40) or (ratio == 1).all()
        halvings += int((ratio == 0.5).sum())
    assert halvings > len(stage.images)


LOGITS = torch.tensor([[5.0, 3.0, 1.0, -1.0, -3.0]])
FIRST = torch.tensor([0])


def test_the_logits_ratio_is_the_papers() -> None:
    assert dlr(Goal(FIRST), LOGITS).item() == pytest.approx(-(5 - 3) / (5 - 1))
    third = Goal(FIRST, aim=torch.tensor([3]))
    assert aimed_dlr(third, LOGITS).item() == pytest.approx(-(5 - -1) / (5 - (1 + -1) / 2))
    assert dlr(Goal(torch.tensor([2]), targeted=True), LOGITS).item() == pytest.approx((1 - 5) / (5 - (1 + -1) / 2))
    for scaled in (LOGITS * 100, LOGITS - 7):
        assert dlr(Goal(FIRST), scaled).item() == pytest.approx(-0.5)


@pytest.mark.parametrize("classes", [2, 3])
def test_few_classes_and_equal_logits_leave_the_ratio_a_number(classes: int) -> None:
    aimed = Goal(FIRST, aim=torch.tensor([1]))
    for logits in (LOGITS[:, :classes].clone(), torch.zeros(1, classes)):
        logits.requires_grad_()
        for goal in (aimed, Goal(FIRST, targeted=True)):
            for value in (dlr(goal, logits), aimed_dlr(aimed, logits)):
                assert value.isfinite()
                assert torch.autograd.grad(value.sum(), logits)[0].isfinite().all()


# What it costs


@pytest.mark.parametrize("targeted", [False, True], ids=["untargeted", "targeted"])
@pytest.mark.parametrize(
    "attack",
    [
        FGSM(),
        BIM(),
        MIFGSM(steps=3),
        PGD(steps=3),
        PGD(steps=3, restarts=4),
        APGD(steps=5),
        APGD(steps=5, restarts=2, loss="dlr"),
        APGD(steps=5, loss="dlr-targeted"),
        APGD(steps=5, loss="dlr-targeted", targets=3, restarts=2),
    ],
    ids=lambda attack: attack.label,
)
def test_an_example_that_resists_costs_the_passes_that_were_announced(attack: Attack, targeted: bool) -> None:
    stage = steadfast(Linf(0.1), targeted)
    problem = stage.problem(attack, Problem)
    p = attack.perturb(problem)
    spent, announced = problem.forwards.tolist(), attack.passes(10)
    assert announced is not None
    if targeted and getattr(attack, "loss", "") == "dlr-targeted":
        assert spent == [APGD(steps=5, restarts=attack.params()["restarts"]).passes(10)] * 6
    else:
        assert spent == [announced] * 6
    assert not any(verdict.violation for verdict in stage.verdicts(p))


@pytest.mark.parametrize("attack", [PGD(steps=2), *(APGD(steps=5, loss=loss) for loss in LOSSES)], ids=str)
def test_restarts_never_hurt_and_cost_nothing_where_the_first_run_won(attack: PGD | APGD) -> None:
    stage = scene(Linf(0.02), count=24)
    for seed in range(2):
        once, more = stage.problem(attack, Problem, seed=seed), stage.problem(attack, Problem, seed=seed)
        again: Attack = replace(attack, restarts=3)
        one, three = once.finish(attack.perturb(once)), more.finish(again.perturb(more))
        won, still = (torch.tensor([verdict.fooled for verdict in stage.verdicts(p)]) for p in (one, three))
        assert not (won & ~still).any()
        assert torch.equal(one[once.found], three[once.found])
        assert torch.equal(once.forwards[once.found], more.forwards[once.found])
        assert 0 < won.sum() < 24


def test_restarts_find_what_one_start_does_not() -> None:
    stage = scene(Linf(0.02), count=24)
    one, many = (stage.fooled(PGD(steps=1, travel=0.2, restarts=restarts)).sum() for restarts in (1, 12))
    assert many > one


def test_targets_come_in_the_order_of_the_clean_logits_and_leave_with_the_example() -> None:
    stage, attack = steadfast(Linf(0.05), False), APGD(steps=4, loss="dlr-targeted", targets=6)
    problem = stage.problem(attack, Recorder)
    attack.perturb(problem)
    assert isinstance(problem, Recorder)
    logits = stage.target.logits(stage.images).scatter(1, stage.labels[:, None], -torch.inf)
    ranked = logits.argsort(dim=1, descending=True)
    seen = torch.cat([problem.aims[0].view(1, -1), problem.aims[4].view(4, -1), problem.aims[8].view(1, -1)])
    assert torch.equal(seen.T, ranked[:, :6])

    easy = scene(Linf(0.02), count=24)
    problem = easy.problem(attack, Problem)
    attack.perturb(problem)
    assert problem.found.any()
    assert not problem.found.all()
    assert (problem.forwards[problem.found] < attack.passes(10)).all()


def test_two_attacks_one_after_the_other_share_what_they_found() -> None:
    stage = scene(Linf(0.03), count=24)
    problem = stage.problem(APGD(), Problem)
    APGD(steps=10).perturb(problem)
    first, best, spent = problem.found, problem.best, problem.forwards.clone()
    second = APGD(steps=10, loss="dlr-targeted")
    p = problem.finish(second.perturb(problem))
    assert first.any()
    assert not first.all()
    assert problem.found[first].all()
    assert torch.equal(problem.best[first], best[first])
    assert torch.equal(problem.forwards[first], spent[first])
    assert (problem.forwards[~problem.found] == spent[~problem.found] + second.passes(10)).all()
    assert not any(verdict.violation for verdict in stage.verdicts(p))


@pytest.mark.parametrize("attack", [PGD(steps=9, restarts=3), *(APGD(steps=9, loss=loss) for loss in LOSSES)], ids=str)
def test_a_query_budget_is_kept_and_what_is_returned_stays_in_the_ball(attack: Attack) -> None:
    for stage in (scene(Linf(0.02), count=12), steadfast(L2(0.5), False)):
        for budget in (1, 14):
            problem = stage.problem(attack, Problem, budget=budget)
            p = problem.finish(attack.perturb(problem))
            assert (problem.forwards <= budget).all()
            assert not any(verdict.violation for verdict in stage.verdicts(p))


@pytest.mark.parametrize("loss", LOSSES)
def test_running_to_the_end_fools_the_same_with_a_higher_loss(loss: str) -> None:
    stage, attack = scene(Linf(0.04), count=12), APGD(steps=10, loss=loss)
    first, end = judged(stage, attack, "first"), judged(stage, attack, "end")
    won = [torch.tensor([v.fooled for v in stage.verdicts(p)]) for p in (first, end)]
    assert torch.equal(*won)
    assert won[0].any()
    values = [stage.goal.cross_entropy(stage.target.logits(stage.images + p))[won[0]] for p in (first, end)]
    assert (values[1] >= values[0] - 1e-4).all()
    assert (values[1] > values[0] + 0.01).any()


@pytest.mark.parametrize(
    "attack", [PGD(steps=4, rule="adam", rate=0.05), APGD(steps=4), APGD(steps=4, loss="dlr-targeted")], ids=str
)
@pytest.mark.parametrize("name", BALLS)
def test_who_falls_on_the_way_does_not_show_in_the_others(attack: Attack, name: str) -> None:
    stage = scene(BALLS[name].at(BALLS[name].eps / 3), count=9)
    whole = judged(stage, attack)
    alone = torch.cat([judged(stage[row], attack) for row in torch.arange(9).chunk(4)])
    assert torch.equal(whole, alone)


@pytest.mark.parametrize("wrong", [{"loss": "hinge"}, {"rule": "newton"}, {"restarts": 0}, {"rate": -1.0}])
def test_a_rule_or_a_loss_that_pgd_does_not_know_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(AdvbenchError, match="pgd: "):
        PGD(**wrong)  # type: ignore[arg-type]


def test_apgd_leaves_less_of_a_robust_network_than_pgd_does(shared_data: Path) -> None:
    weights = shared_data / "wong2019_mnist/mnist_robust.safetensors"
    found = evaluate(
        f'wong2019(weights="{weights}")',
        dataset="mnist",
        threats=["linf(eps=0.15)"],
        attacks=["pgd(steps=15)", "apgd(steps=15)"],
        examples=100,
        data=[shared_data],
    )
    rates = {row["attack"]: row["accuracy"] for row in found.rates}
    assert rates["apgd(steps=15)"] < rates["pgd(steps=15)"] < 0.95
