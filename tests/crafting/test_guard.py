"""An attack that changes what it runs beside fails with the name of that, and whoever comes next notices nothing."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from advbench import Access, Attack, Problem, evaluate
from advbench.crafting.cell import Job, Rules, Shard, craft
from advbench.crafting.condition import Condition, mixed
from advbench.crafting.torch_state import TorchState
from advbench.data import Examples
from advbench.errors import DamagedTargetError, PluginError
from advbench.plugins.registry import Registry
from advbench.problem.batches import BatchSize
from advbench.target.target import Target
from advbench.testing.stage import images, target_of
from advbench.threats import Linf
from advbench_attacks.pgd import PGD

SHAPE = (1, 8, 8)
X = images(24, SHAPE)
Cheat = Callable[[Problem], object]


class Net(nn.Module):
    """With batch normalisation, whose statistics move when somebody leaves it in training mode."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(1)
            self.body = nn.Sequential(nn.Conv2d(1, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.Flatten())
            self.head = nn.Linear(216, 10)
            with torch.no_grad():
                for _ in range(5):
                    self.body(images(64, SHAPE, first=900))
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        answer: Tensor = self.head(self.body(x))
        return answer


@pytest.fixture(scope="module")
def net() -> Net:
    return Net()


@pytest.fixture(scope="module")
def labels(net: Net) -> Tensor:
    return net(X).argmax(1)


@dataclass(frozen=True)
class Careless(Attack):
    """Does something else beside its search."""

    name = "careless"
    threats = frozenset({"linf"})
    needs = Access.GRADIENTS

    how: str = ""

    def perturb(self, problem: Problem) -> Tensor:
        CHEATS[self.how][0](problem)
        p = problem.start(random=True)
        problem.labels(p)
        return problem.project(p)


def _target(problem: Problem) -> Target:
    answers = problem._target
    target = answers._answering  # type: ignore[attr-defined]
    assert isinstance(target, Target)
    return target


def _net(problem: Problem) -> Net:
    net = _target(problem).net
    assert isinstance(net, Net)
    return net


def _zero_the_weights(problem: Problem) -> None:
    _net(problem).head.weight.data.zero_()


def _zero_a_bias(problem: Problem) -> None:
    with torch.no_grad():
        _net(problem).head.bias.zero_()


def _exchange_values(problem: Problem) -> None:
    weight = _net(problem).head.weight
    weight.data = weight.data.clone() + 1


def _leave_in_training_mode(problem: Problem) -> None:
    _net(problem).train()


def _move_the_statistics(problem: Problem) -> None:
    _net(problem).train()
    problem.labels(problem.start())
    _net(problem).eval()


def _hook(problem: Problem) -> None:
    _net(problem).head.register_forward_hook(lambda module, given, answer: answer * 0)


def _ask_for_gradients(problem: Problem) -> None:
    _net(problem).requires_grad_(True)


def _exchange_a_layer(problem: Problem) -> None:
    _net(problem).head = nn.Linear(216, 10)


def _exchange_the_forward(problem: Problem) -> None:
    _net(problem).body.forward = lambda x: x.new_zeros(len(x), 216)  # type: ignore[method-assign]


def _fall_over_in_training_mode(problem: Problem) -> None:
    _net(problem).train()
    raise ZeroDivisionError("half-way")


def _grow_the_ball(problem: Problem) -> None:
    object.__setattr__(problem.threat, "eps", 0.9)


def _another_ball(problem: Problem) -> None:
    problem.threat = problem.threat.at(0.9)


def _write_into_labels(problem: Problem) -> None:
    problem._goal.labels.view(-1, 1)[0] = 3


def _write_into_images(problem: Problem) -> None:
    problem.images[:, :, 0].zero_()


def _write_into_ids(problem: Problem) -> None:
    problem.draws.ids[0] = 7


def _change_the_default_type(problem: Problem) -> None:
    torch.set_default_dtype(torch.float64)


def _stop_gradients(problem: Problem) -> None:
    torch.set_grad_enabled(False)


def _take_more_threads(problem: Problem) -> None:
    torch.set_num_threads(torch.get_num_threads() + 1)


def _be_deterministic(problem: Problem) -> None:
    torch.use_deterministic_algorithms(not torch.are_deterministic_algorithms_enabled())


def _change_itself(problem: Problem) -> None:
    object.__setattr__(SELF[0], "how", "other")


def _negate(problem: Problem) -> None:
    _net(problem).head.weight.data.neg_()


def _halve(problem: Problem) -> None:
    _net(problem).head.weight.data.mul_(0.5)


def _turn_round(problem: Problem) -> None:
    weight = _net(problem).head.weight
    weight.data.copy_(weight.data.flip(0))


def _write_by_numpy(problem: Problem) -> None:
    array = _net(problem).head.weight.detach().numpy()
    array *= -1


def _change_a_setting(problem: Problem) -> None:
    _net(problem).body[1].eps = 1e3  # type: ignore[assignment]


def _break_a_weight(problem: Problem) -> None:
    _net(problem).head.weight.data = torch.zeros(3, 3)


def _hook_that_raises(problem: Problem) -> None:
    def refuse(module: nn.Module, given: object, answer: Tensor) -> None:
        raise RuntimeError("no")

    _net(problem).head.register_forward_hook(refuse)
    raise ZeroDivisionError("half-way")


def _in_double(problem: Problem) -> None:
    _net(problem).double()
    raise ZeroDivisionError("half-way")


def _another_network(problem: Problem) -> None:
    _target(problem).net = Net()


def _another_threshold(problem: Problem) -> None:
    _target(problem).scale = 4.0
    _target(problem).threshold = -1.0


def _another_model(problem: Problem) -> None:
    object.__setattr__(_target(problem).model, "title", "better")


def _stay_in_inference(problem: Problem) -> None:
    KEPT.append(torch.inference_mode(True))
    KEPT[-1].__enter__()


def _ask_the_network_itself(problem: Problem) -> None:
    _net(problem)(problem.images)


def _ask_the_target_itself(problem: Problem) -> None:
    _target(problem).logits(problem.images)


def _ask_what_the_problem_asks(problem: Problem) -> None:
    problem._target.logits(problem.images)


CHEATS: dict[str, tuple[Cheat, str]] = {
    "weights": (_zero_the_weights, "changed its target: head.weight holds other values"),
    "bias": (_zero_a_bias, "head.bias holds other values"),
    "values": (_exchange_values, "head.weight holds other values"),
    "training": (_leave_in_training_mode, "is in training mode"),
    "statistics": (_move_the_statistics, r"body\.1\.\w+ holds other values"),
    "hook": (_hook, "head has other hooks"),
    "gradients": (_ask_for_gradients, "`requires_grad`"),
    "layer": (_exchange_a_layer, "head is another module"),
    "forward": (_exchange_the_forward, "body has another `forward`"),
    "fall": (_fall_over_in_training_mode, r"is in training mode.*ended with: ZeroDivisionError: half-way"),
    "eps": (_grow_the_ball, "changed the ball"),
    "ball": (_another_ball, "changed the ball"),
    "labels": (_write_into_labels, "wrote into `problem.goal.labels`"),
    "images": (_write_into_images, "wrote into `problem.images`"),
    "ids": (_write_into_ids, "wrote into `problem.draws.ids`"),
    "dtype": (_change_the_default_type, "torch's default dtype is torch.float64, not torch.float32"),
    "grad": (_stop_gradients, "torch's grad mode is off, not on"),
    "threads": (_take_more_threads, "torch's number of threads is"),
    "deterministic": (_be_deterministic, "torch's deterministic algorithms"),
    "itself": (_change_itself, "left something changed: its own `how` is another one"),
    "around": (_ask_the_network_itself, "made 1 passes around its problem"),
    "target": (_ask_the_target_itself, "made 1 passes around its problem"),
    "answers": (_ask_what_the_problem_asks, "made 1 passes around its problem"),
}
CHEATS |= {
    "negated": (_negate, "head.weight holds other values"),
    "halved": (_halve, "head.weight holds other values"),
    "turned": (_turn_round, "head.weight holds other values"),
    "numpy": (_write_by_numpy, "head.weight holds other values"),
    "setting": (_change_a_setting, r"body\.1\.eps is 1000\.0, not 1e-05"),
    "broken": (_break_a_weight, "head.weight has another type, shape"),
    "raising": (_hook_that_raises, "head has other hooks.*half-way"),
    "double": (_in_double, "has another type, shape.*half-way"),
    "net": (_another_network, "`net` is another one"),
    "threshold": (_another_threshold, "`threshold` is another one; `scale` is another one"),
    "model": (_another_model, "`title` is another one"),
    "inference": (_stay_in_inference, "torch's inference mode is on, not off"),
}
SELF: list[Attack] = []
KEPT: list[torch.inference_mode] = []


@pytest.fixture(scope="module")
def alone(net: Net, labels: Tensor) -> list[tuple[str, float]]:
    return rates(net, labels, [PGD(steps=5)])


def rates(net: Net, labels: Tensor, attacks: list[Attack]) -> list[tuple[str, float]]:
    found = evaluate(net, X, labels, threats="linf(eps=0.02)", attacks=attacks)
    return [(row["attack"], row["accuracy"]) for row in found.rates]


@pytest.mark.parametrize("how", CHEATS)
def test_the_cell_fails_with_the_name_of_what_changed_and_the_next_one_is_what_it_would_have_been(
    net: Net, labels: Tensor, alone: list[tuple[str, float]], how: str
) -> None:
    before, state = Condition.of([net]), TorchState.now()
    attack = Careless(how)
    SELF[:] = [attack]
    found = evaluate(net, X, labels, threats="linf(eps=0.02)", attacks=[attack, PGD(steps=5)])
    ((label, reason),) = found.failed
    assert label.startswith("careless")
    with pytest.raises(PluginError, match=CHEATS[how][1]):
        raise PluginError(reason)
    assert [(row["attack"], row["accuracy"]) for row in found.rates] == alone
    assert found.robust_accuracy == {"given/linf/0.02": None}
    assert Condition.of([net]) == before
    assert TorchState.now() == state
    assert attack.how == how


def test_there_is_something_to_lose(net: Net, labels: Tensor, alone: list[tuple[str, float]]) -> None:
    """Else what comes next could not be seen to be the same."""
    assert 0 < alone[0][1] < 1
    worse = copy.deepcopy(net)
    worse.train()
    assert rates(worse.train(), labels, [PGD(steps=5)]) == alone  # evaluation mode is what is asked for
    worse(X)  # the statistics move
    assert rates(worse, labels, [PGD(steps=5)]) != alone


def job(attack: Attack, target: Target) -> Job:
    answer = target.answer(X, BatchSize(64))
    examples = Examples(X, answer.predicted, torch.arange(len(X)))
    shard = Shard(0, 0, len(X), examples, answer.predicted, answer.predicted, answer.lead)
    return Job(attack, Linf(0.05), False, target, Rules(stop="end"), 8, "cpu", (shard,))


@dataclass(frozen=True)
class Borrower(Careless):
    """Changes the attack that it builds on."""

    name = "borrower"
    builds_on = ("attack",)

    attack: str = "pgd"

    def perturb(self, problem: Problem) -> Tensor:
        object.__setattr__(self.others["attack"], "steps", 1)
        return problem.start()


def test_an_attack_that_another_builds_on_stays_what_it_was() -> None:
    pgd = PGD(steps=5)
    borrower = Registry(attacks={"pgd": pgd}).settle(Borrower())
    with pytest.raises(PluginError, match="left something changed: its own `steps` is another one"):
        list(craft(job(borrower, target_of(Net(), SHAPE, 10))))
    assert pgd.steps == 5


class Counting(Net):
    """Counts how often it was asked, as some networks do."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("times", torch.zeros((), dtype=torch.int64))

    def forward(self, x: Tensor) -> Tensor:
        self.times += 1
        return super().forward(x)


class Noisy(Net):
    """Keeps the noise that it drew, and what it saw; the largest value in a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("largest", torch.zeros(()))
        self.noise = torch.zeros(1)
        self.passes = 0

    def forward(self, x: Tensor) -> Tensor:
        self.noise = torch.randn_like(x) * 0.01
        self.largest = torch.maximum(self.largest, x.detach().max())
        self.passes += 1
        if torch.is_grad_enabled():
            self.seen = x
        return super().forward(x + self.noise)


class Saving(Net):
    """Saves memory by asking itself again on the way back."""

    def forward(self, x: Tensor) -> Tensor:
        answer: Tensor = checkpoint(super().forward, x, use_reentrant=False)
        return answer


class Inner(nn.Module):
    """A network within another, asked again by autograd alone."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        answer: Tensor = checkpoint(self.net, x, use_reentrant=False)
        return answer


def _inner() -> Target:
    net = Net()
    around = target_of(Inner(net), SHAPE, 10)
    around.base = net
    return around


TARGETS: dict[str, Callable[[], Target]] = {
    "counting": lambda: target_of(Counting(), SHAPE, 10),
    "noisy": lambda: target_of(Noisy(), SHAPE, 10),
    "compiled": lambda: target_of(cast("nn.Module", torch.compile(Net(), backend="eager")), SHAPE, 10),
    "saving": lambda: target_of(Saving(), SHAPE, 10),
    "inner": _inner,
}
"""Made when they are asked for: torch's compiler takes seconds to load."""


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")  # of torch's compiler
@pytest.mark.filterwarnings("ignore:Guards may run slower on Python 3.13.0")  # of the same
@pytest.mark.parametrize("name", TARGETS)
def test_what_a_network_does_by_itself_is_not_held_against_the_attack(name: str) -> None:
    (crafted,) = craft(job(PGD(steps=3), TARGETS[name]()))
    assert len(crafted.p) == len(X)


def test_a_part_of_the_network_that_is_changed_beside_a_counter_is_still_seen() -> None:
    with pytest.raises(DamagedTargetError, match=r"head\.weight holds other values$"):
        list(craft(job(Careless("weights"), target_of(Counting(), SHAPE, 10))))


@pytest.mark.parametrize(
    "change",
    [
        lambda w: w.neg_(),
        lambda w: w.mul_(2),
        lambda w: w.copy_(w.flip(0)),
        lambda w: w[0].add_(0.1),
        lambda w: w.copy_(torch.cat((w[1:2], w[:1], w[2:]))),
    ],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
def test_the_checksum_of_an_accelerator_sees_what_a_plain_sum_would_not(
    change: Callable[[Tensor], object], dtype: torch.dtype
) -> None:
    weight = torch.rand(64, 512, generator=torch.Generator().manual_seed(0)).to(dtype) + 1
    before = int(mixed(weight))
    change(weight)
    assert int(mixed(weight)) != before


def test_a_target_that_cannot_be_made_again_takes_its_cells_with_it(net: Net, labels: Tensor) -> None:
    """Whoever reaches the copy from which targets are made leaves nothing to make them from."""

    @dataclass(frozen=True)
    class Thorough(Careless):
        name = "thorough"

        def perturb(self, problem: Problem) -> Tensor:
            _target(problem).model._net.head.weight.data.zero_()  # type: ignore[attr-defined]
            _zero_the_weights(problem)
            return problem.start()

    found = evaluate(net, X, labels, threats="linf(eps=0.02)", attacks=[Thorough(), PGD(steps=5)])
    reasons = dict(found.failed)
    assert "could not be made again: another one came out" in reasons["Net"]
    assert found.rates == []
    assert found.robust_accuracy == {"given/linf/0.02": None}
