"""The conformance kit: everything that ships passes, and each way of breaking the contract fails the check for it."""

from __future__ import annotations

import random
import types
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import pytest
import torch
import typer
from torch import Tensor, nn
from typer.testing import CliRunner

from advbench import (
    Access,
    AdvbenchError,
    Attack,
    Data,
    DataFolders,
    Dataset,
    Defense,
    Draws,
    Examples,
    Model,
    Problem,
    Recipe,
    hookimpl,
)
from advbench.cli.app import App
from advbench.cli.check import check
from advbench.plugin import Plugin
from advbench.plugins.discovery import discover
from advbench.plugins.registry import Registry
from advbench.testing import Check, NotHere, checks, run_checks
from advbench.testing.attacks import is_no_worse_than_chance
from advbench.testing.stage import BALLS
from advbench_attacks.pgd import PGD


def trial(attack: Attack) -> str:
    """The label under which the kit tries it."""
    return replace(attack, **attack.trial).label


REGISTRY = discover()
ALWAYS = {"fgsm", "deepfool", "square", "boundary", "universal-pgd", "transfer"}
"""One attack of each nature: a step, a smallest perturbation, scores, labels with held-out images, a set, elsewhere."""
SLOW = {label for name, one in REGISTRY.attacks.items() for label in (one.label, trial(one)) if name not in ALWAYS}
SLOW |= {"kde-prior", "randomized-smoothing", "torchvision"}


SPLIT = "does-not-depend-on-the-batch"


def tried(every: Iterable[Check]) -> Iterator[Any]:
    """Every check of every entrant, but in one ball alone, the first that an attack serves, what it does toward a goal
    and in batches of other sizes; tests/run/test_invariance.py cuts batches in every ball."""
    first: dict[str, str] = {}
    for one in every:
        ball = next((name for name in BALLS if one.what.startswith(f"{name}-")), "")
        again = first.setdefault(one.plugin, ball) != ball
        if again and (one.what.startswith(f"{ball}-targeted-") or one.what == f"{ball}-{SPLIT}"):
            marks = [pytest.mark.exhaustive]
        else:
            marks = [pytest.mark.slow] * (one.plugin in SLOW and not one.on_paper)
        yield pytest.param(one, id=str(one), marks=marks)


@pytest.mark.parametrize("check", list(tried(checks(REGISTRY))))
def test_a_built_in_keeps_the_contract_that_strangers_are_held_to(check: Check) -> None:
    check()


def failed(plugin: Plugin) -> set[str]:
    """The checks that fail, without the plugin's name and the ball's or the data set's."""
    results = list(run_checks(checks(plugin)))
    for name, ok, message in results:
        assert ok is not False or message.startswith(plugin.label), f"{name} does not name the plugin: {message}"
    names = [name.removeprefix(f"{plugin.label}-") for name, ok, _ in results if ok is False]
    for place in ("linf-", "targeted-", "1x28x28-", "3x32x32-", "3x40x40-"):
        names = [name.removeprefix(place) for name in names]
    return set(names)


def remarks(plugin: Plugin) -> str:
    return " ".join(message for _, ok, message in run_checks(checks(plugin)) if ok)


# Attacks


@dataclass(frozen=True)
class Fair(Attack):
    """One step of the gradient's sign: what the bad ones below spoil."""

    name = "bad"
    threats = frozenset({"linf"})
    needs = Access.GRADIENTS

    def perturb(self, problem: Problem) -> Tensor:
        return problem.project(problem.start() + problem.eps * problem.ascent(problem.start()))


class LeavesTheBall(Fair):
    def perturb(self, problem: Problem) -> Tensor:
        return super().perturb(problem) * 1.01


class ForgetsTheBox(Fair):
    def perturb(self, problem: Problem) -> Tensor:
        return problem.eps * problem.ascent(problem.start())


class AnswersNaN(Fair):
    def perturb(self, problem: Problem) -> Tensor:
        return super().perturb(problem) / 0 * 0


class AnswersOneForAll(Fair):
    def perturb(self, problem: Problem) -> Tensor:
        return super().perturb(problem)[:1]


class AnswersInDouble(Fair):
    def perturb(self, problem: Problem) -> Tensor:
        return super().perturb(problem).double()


class WritesIntoImages(Fair):
    def perturb(self, problem: Problem) -> Tensor:
        p = super().perturb(problem)
        problem.images.add_(p)
        return p


class WritesIntoLabels(Fair):
    def perturb(self, problem: Problem) -> Tensor:
        p = super().perturb(problem)
        problem.goal.labels.add_(1)
        return p


class AsksForMore(Fair):
    needs = Access.LABELS


class DrawsFromTorch(Fair):
    def perturb(self, problem: Problem) -> Tensor:
        p = problem.start()
        return problem.project(p + problem.eps * problem.ascent(p + 0.01 * torch.rand_like(p)))


class DrawsFromPython(Fair):
    def perturb(self, problem: Problem) -> Tensor:
        return super().perturb(problem) * (0.99 + 0.01 * random.random())


class ScalesByTheBatch(Fair):
    def perturb(self, problem: Problem) -> Tensor:
        p = problem.start()
        gradient = problem.gradient(p)
        step = (gradient / gradient.abs().mean().clamp_min(1e-9)).clamp(-1, 1)  # a mean over all examples
        return problem.project(p + problem.eps * step)


class IgnoresTheRadius(Fair):
    def perturb(self, problem: Problem) -> Tensor:
        return super().perturb(problem) + 0.02 * (0.5 - problem.images).sign()


class GoesDownhill(Fair):
    def perturb(self, problem: Problem) -> Tensor:
        return problem.project(-problem.eps * problem.ascent(problem.start()))


class FailsOnOneImage(Fair):
    def perturb(self, problem: Problem) -> Tensor:
        if len(problem.images) == 1:
            raise IndexError("what is there to compare with?")
        return super().perturb(problem)


class AssumesGrey(Fair):
    def perturb(self, problem: Problem) -> Tensor:
        return super().perturb(problem).view(-1, 1, *problem.images.shape[2:])


class StartsAtANeighbour(Fair):
    """Fair, too: a step from the nearest held-out image, and none where there is no such image."""

    uses_bank = True

    def perturb(self, problem: Problem) -> Tensor:
        for places in problem.bank.nearest(problem.images, problem.goal)[:, :1].T:
            problem.labels(problem.project(problem.bank.images(places) - problem.images))
        return super().perturb(problem)


class CountsOnABank(StartsAtANeighbour):
    def perturb(self, problem: Problem) -> Tensor:
        problem.bank.nearest(problem.images, problem.goal)[:, 0]
        return super().perturb(problem)


class WritesIntoTheBank(StartsAtANeighbour):
    def perturb(self, problem: Problem) -> Tensor:
        p = super().perturb(problem)
        problem.bank.examples.images.mul_(0.9)
        return p


class ClaimsAnUnknownBall(Fair):
    threats = frozenset({"linf", "l3"})


class OneDraw(Attack):
    """An honest random perturbation, another one for each name."""

    threats = frozenset({"linf", "l2", "rotate-shift", "wasserstein"})
    needs = Access.LABELS
    measures = True

    def perturb(self, problem: Problem) -> Tensor:
        return problem.start(random=True)


class OneDrawOfSigns(OneDraw):
    threats = frozenset({"linf"})

    def perturb(self, problem: Problem) -> Tensor:
        return problem.project(problem.eps * problem.draws.sign(*problem.images.shape[1:]))


class OneDrawForAll(OneDraw):
    threats = frozenset({"linf", "l2"})
    scope = "set"


EDGE = {"finds-a-known-edge"}
CHANCE = {"is-no-worse-than-chance"}
SPLIT = {"does-not-depend-on-the-batch"}
FORM = {"gives-what-is-due"}
ATTACKS: dict[type[Attack], set[str]] = {
    Fair: set(),
    LeavesTheBall: {"stays-in-ball"},
    ForgetsTheBox: {"stays-in-ball"},
    AnswersNaN: FORM,
    AnswersOneForAll: FORM,
    AnswersInDouble: FORM,
    WritesIntoImages: {"leaves-inputs-alone"},
    WritesIntoLabels: {"leaves-inputs-alone"},
    AsksForMore: {"asks-only-for-what-it-declares"},
    DrawsFromTorch: {"repeats", *SPLIT},
    DrawsFromPython: {"repeats", *SPLIT},
    ScalesByTheBatch: SPLIT,
    IgnoresTheRadius: {"stays-in-ball", "changes-nothing-at-radius-0"},
    GoesDownhill: {*EDGE, *CHANCE},
    FailsOnOneImage: {"survives-one-image"},
    AssumesGrey: {"survives-oblong-colour"},
    StartsAtANeighbour: set(),
    CountsOnABank: {"survives-no-held-out-images"},
    WritesIntoTheBank: {"leaves-inputs-alone"},
    ClaimsAnUnknownBall: {"claims-known-balls"},
}


@pytest.mark.parametrize("kind", ATTACKS, ids=lambda kind: kind.__name__)
def test_an_attack_that_breaks_the_contract_is_told_by_the_check_for_it(kind: type[Attack]) -> None:
    found = failed(kind())
    expected = ATTACKS[kind]
    if expected & {"stays-in-ball", *FORM}:  # also on odd inputs
        found = {name for name in found if not name.startswith("survives-")}
    assert found - (EDGE | CHANCE) == expected - (EDGE | CHANCE)
    assert expected <= found


@pytest.mark.parametrize("kind", [OneDraw, OneDrawOfSigns, OneDrawForAll], ids=lambda kind: kind.__name__)
def test_an_attack_that_is_itself_a_random_draw_is_no_worse_than_chance(kind: type[Attack]) -> None:
    named = [type(kind.__name__, (kind,), {"name": f"draw-{number}"})() for number in range(20)]
    balls = [BALLS[name] for name in sorted(kind.threats)]
    for attack in named:
        is_no_worse_than_chance(attack, balls)


def test_an_attack_that_fools_nobody_is_worse_than_chance_and_told_the_numbers() -> None:
    class Stays(OneDraw):
        name = "stays"

        def perturb(self, problem: Problem) -> Tensor:
            return problem.start()

    with pytest.raises(AssertionError, match=r"fools 0 images where 100 random perturbations fool \d+ to \d+"):
        is_no_worse_than_chance(Stays(), [BALLS["linf"]])


def test_an_attack_that_hangs_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    class Hangs(Fair):
        def perturb(self, problem: Problem) -> Tensor:
            while True:
                pass

    monkeypatch.setattr("advbench.testing.check.LIMIT", 0.2)
    with pytest.raises(AdvbenchError, match=r"bad: not done after .* it hangs or needs a bound"):
        checks(Hangs())[2]()


class MakesTensorsAnywhere(Fair):
    def perturb(self, problem: Problem) -> Tensor:
        return super().perturb(problem) * torch.ones(1)


class LooksAtEveryStep(Fair):
    def perturb(self, problem: Problem) -> Tensor:
        p = problem.start()
        for _ in range(20):
            p = problem.project(p + 0.1 * problem.eps * problem.ascent(p))
            if float(p.abs().max()) > 1:
                break
        return p


def test_a_tensor_that_is_made_without_a_device_is_told_with_its_line() -> None:
    assert failed(MakesTensorsAnywhere()) == {"makes-tensors-where-the-data-lie"}
    (wrong,) = (one for one in run_checks(checks(MakesTensorsAnywhere())) if one.ok is False)
    assert "without `device=`" in wrong.message
    assert "return super().perturb(problem) * torch.ones(1)" in wrong.message


def test_waits_in_every_step_are_remarked_upon_and_allowed() -> None:
    assert failed(LooksAtEveryStep()) == set()
    assert "the host would wait" in remarks(LooksAtEveryStep())
    assert "test_conformance.perturb: _local_scalar_dense" in remarks(LooksAtEveryStep())


def test_declaring_more_than_is_used_is_remarked_upon_and_allowed() -> None:
    class Modest(Fair):
        def perturb(self, problem: Problem) -> Tensor:
            problem.labels(problem.start())
            return problem.start()

    assert "never asked for gradients, which it declares" in remarks(Modest())


# Parameters


@dataclass(frozen=True)
class HidesAField(Fair):
    steps: int = 3

    def params(self) -> dict[str, object]:
        return {}


def test_a_parameter_that_is_not_stored_is_found() -> None:
    assert "survives-json-and-its-label" in failed(HidesAField(steps=4))


# Models


@dataclass(frozen=True)
class Affine(Model):
    name = "bad"

    def build(self, dataset: Dataset) -> nn.Module:
        channels, height, width = dataset.shape
        return self.spoilt(nn.Sequential(nn.Flatten(), nn.Linear(channels * height * width, dataset.classes)), dataset)

    def recipe(self, dataset: Dataset) -> Recipe | None:
        return Recipe()

    def spoilt(self, net: nn.Module, dataset: Dataset) -> nn.Module:
        return net


class Spoilt(nn.Module):
    """A network whose answer is changed."""

    def __init__(self, net: nn.Module, how: str) -> None:
        super().__init__()
        self.net, self.how = net, how
        self.secret = torch.randn(())

    def forward(self, x: Tensor) -> Tensor:
        if self.how == "writes":
            x.mul_(0.5)
        logits: Tensor = self.net(x)
        match self.how:
            case "too few":
                return logits[:, 1:]
            case "explodes":
                return logits / x.flatten(1).sum(1, keepdim=True)
            case "random":
                return logits + torch.randn_like(logits)
            case "neighbours":
                return logits - logits.mean(0)
            case "cut off":
                return logits.detach()
            case "rounded":
                return self.net(x.round())  # type: ignore[no-any-return]
            case "secret":
                return logits + self.secret
        return logits

    def reconstruct(self, images: Tensor, classes: Tensor) -> Tensor:
        return images * 2


def model(how: str, offered: Access = Access.GRADIENTS) -> Model:
    class Bad(Affine):
        offers: ClassVar[Access] = offered

        def spoilt(self, net: nn.Module, dataset: Dataset) -> nn.Module:
            if how == "secret":
                torch.manual_seed(torch.seed())
            return Spoilt(net, how)

    return Bad()


MODELS = {
    "fine": set[str](),
    "too few": {"answers-with-logits"},
    "explodes": {"is-finite-on-all-of-0-to-1"},
    "random": {"answers-twice-alike"},
    "neighbours": {"does-not-look-at-the-neighbours"},
    "cut off": {"has-the-gradients-it-offers"},
    "rounded": {"has-the-gradients-it-offers"},
    "writes": {"leaves-images-alone"},
    "secret": {"survives-safetensors"},
}


@pytest.mark.parametrize("how", MODELS)
def test_a_model_that_breaks_the_contract_is_told_by_the_check_for_it(how: str) -> None:
    assert MODELS[how] <= failed(model(how))
    if how in ("fine", "too few", "explodes", "rounded", "secret"):
        assert failed(model(how)) - {"has-a-recipe"} == MODELS[how]


def test_a_reconstruction_outside_the_box_is_found() -> None:
    assert failed(model("fine", Access.GRADIENTS | Access.RECONSTRUCTION)) == {"reconstructs-images"}


def test_a_model_that_says_why_it_does_not_serve_is_skipped_with_the_reason() -> None:
    class Choosy(Affine):
        def why_not(self, dataset: Dataset) -> str | None:
            return "photographs only" if dataset.shape[0] == 1 else None

    with pytest.raises(NotHere, match="photographs only"):
        next(c for c in checks(Choosy()) if c.name == "bad-1x28x28-answers-with-logits")()
    assert failed(Choosy()) == set()


class OnlyLarge(Affine):
    """Refuses both shapes of the kit."""

    def why_not(self, dataset: Dataset) -> str | None:
        return None if dataset.shape == (3, 40, 40) and dataset.classes == 4 else "large photographs only"


class DeclaresWhatItTakes(OnlyLarge):
    shape = (3, 40, 40)
    classes = 4


class WeightsElsewhere(Affine):
    def build(self, dataset: Dataset) -> nn.Module:
        raise AdvbenchError("bad: its weights are on no machine")


def test_a_model_that_refuses_everything_has_not_passed() -> None:
    assert failed(OnlyLarge()) == {"can-be-tried"}
    assert failed(WeightsElsewhere()) == {"can-be-tried"}


def test_a_model_is_tried_on_the_shape_and_classes_that_it_declares() -> None:
    names = {name for name, ok, _ in run_checks(checks(DeclaresWhatItTakes())) if ok}
    assert "bad-3x40x40-answers-with-logits" in names
    assert failed(DeclaresWhatItTakes()) == set()


@pytest.mark.parametrize(("name", "value"), [("shape", (40, 40)), ("shape", 40), ("classes", 1), ("classes", "ten")])
def test_a_declared_shape_that_is_none_is_told(name: str, value: object) -> None:
    kind = type("Wrong", (Affine,), {name: value})
    assert f"declares {name}" in next(iter(run_checks(checks(kind())))).message


# Defenses


@dataclass(frozen=True)
class Guard(Defense):
    name = "bad"
    detects = True

    def suspicion(self, net: nn.Module, images: Tensor) -> Tensor:
        return images.flatten(1).std(1)


class SuspectsTheBatch(Guard):
    def suspicion(self, net: nn.Module, images: Tensor) -> Tensor:
        return images.mean().view(1)


class OverclaimsSuspicion(Guard):
    differentiable = True

    def suspicion(self, net: nn.Module, images: Tensor) -> Tensor:
        return images.round().flatten(1).mean(1)


class OverclaimsGradients(Guard):
    def wrap(self, net: nn.Module, calibrate: Examples) -> nn.Module:
        return Spoilt(net, "rounded")


class ChangesTheNetwork(Guard):
    def wrap(self, net: nn.Module, calibrate: Examples) -> nn.Module:
        with torch.no_grad():
            next(net.parameters()).mul_(0.5)
        return net


class WritesIntoWhatItJudges(Guard):
    def suspicion(self, net: nn.Module, images: Tensor) -> Tensor:
        return images.mul_(0.9).flatten(1).mean(1)


@dataclass(frozen=True)
class Trainer(Defense):
    name = "bad"
    trains = True

    def training_batch(
        self, net: nn.Module, images: Tensor, labels: Tensor, draws: Draws, progress: float
    ) -> tuple[Tensor, Tensor]:
        return (images + 0.1 * draws.normal(*images.shape[1:])).clamp(0, 1), labels


class TrainsOutside(Trainer):
    def training_batch(
        self, net: nn.Module, images: Tensor, labels: Tensor, draws: Draws, progress: float
    ) -> tuple[Tensor, Tensor]:
        return images + draws.uniform(*images.shape[1:]), labels


class LeavesTrainingMode(Trainer):
    def training_batch(
        self, net: nn.Module, images: Tensor, labels: Tensor, draws: Draws, progress: float
    ) -> tuple[Tensor, Tensor]:
        net.train()
        return images, labels


class TrainsAtRandom(Trainer):
    def training_batch(
        self, net: nn.Module, images: Tensor, labels: Tensor, draws: Draws, progress: float
    ) -> tuple[Tensor, Tensor]:
        return torch.rand_like(images), labels


class Shrunk(nn.Module):
    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.net(nn.functional.interpolate(x, scale_factor=0.5))
        return logits


class ChangesTheSize(Guard):
    def wrap(self, net: nn.Module, calibrate: Examples) -> nn.Module:
        return Shrunk(net)


class SuspectsAtAnotherSize(Guard):
    def suspicion(self, net: nn.Module, images: Tensor) -> Tensor:
        return Shrunk(net)(images).amax(1)  # type: ignore[no-any-return]


class HandsOnDoubles(Guard):
    def suspicion(self, net: nn.Module, images: Tensor) -> Tensor:
        return net(images.double()).amax(1)  # type: ignore[no-any-return]


class RefusesEverything(Guard):
    def why_not(self, dataset: Dataset) -> str | None:
        return "never on a Monday"


class OnlyLargeImages(Guard):
    shape = (3, 40, 40)

    def why_not(self, dataset: Dataset) -> str | None:
        return None if dataset.shape == (3, 40, 40) else "large photographs only"


DEFENSES: dict[type[Defense], set[str]] = {
    Guard: set(),
    SuspectsTheBatch: {"suspects-each-image"},
    OverclaimsSuspicion: {"suspicion-is-differentiable"},
    OverclaimsGradients: {"keeps-the-gradients-it-says"},
    WritesIntoWhatItJudges: {"leaves-images-alone"},
    ChangesTheSize: {"hands-on-what-the-network-takes"},
    SuspectsAtAnotherSize: {"hands-on-what-the-network-takes"},
    RefusesEverything: {"can-be-tried"},
    OnlyLargeImages: set(),
    Trainer: set(),
    TrainsOutside: {"trains-on-batches-of-images"},
    LeavesTrainingMode: {"training-repeats-and-leaves-the-network-alone"},
    TrainsAtRandom: {"training-repeats-and-leaves-the-network-alone"},
}


@pytest.mark.parametrize("kind", DEFENSES, ids=lambda kind: kind.__name__)
def test_a_defense_that_breaks_the_contract_is_told_by_the_check_for_it(kind: type[Defense]) -> None:
    assert failed(kind()) == DEFENSES[kind]


def test_a_defense_that_rewrites_the_network_it_was_lent_is_found() -> None:
    assert "answers-with-logits" in failed(ChangesTheNetwork())


def test_a_defense_that_hands_on_another_type_is_found() -> None:
    assert "hands-on-what-the-network-takes" in failed(HandsOnDoubles())


def test_a_defense_that_randomises_is_allowed_and_remarked_upon() -> None:
    class Jitters(Guard):
        def wrap(self, net: nn.Module, calibrate: Examples) -> nn.Module:
            return Spoilt(net, "random")

    assert failed(Jitters()) == set()
    assert "marked as randomised" in remarks(Jitters())


# Data sets


@dataclass(frozen=True)
class Dots(Dataset):
    name = "bad"
    shape = (1, 2, 2)
    class_names = ("a", "b")

    def find(self, folders: DataFolders) -> str | None:
        return "made here"

    def load(self, folders: DataFolders) -> Data:
        ids = torch.arange(12)
        images = Draws(0, "dots", ids).uniform(1, 2, 2)
        every = self.spoilt(Examples(images, ids % 2, ids))
        return Data(every[:4], every[4:8], every[8:])

    def spoilt(self, every: Examples) -> Examples:
        return every


class WrongShape(Dots):
    def spoilt(self, every: Examples) -> Examples:
        return Examples(every.images.view(12, 1, 1, 4), every.labels, every.ids)


class OutsideTheBox(Dots):
    def spoilt(self, every: Examples) -> Examples:
        return Examples(every.images - 0.5, every.labels, every.ids)


class UnknownLabels(Dots):
    def spoilt(self, every: Examples) -> Examples:
        return Examples(every.images, every.labels + 1, every.ids)


class RepeatedIds(Dots):
    def spoilt(self, every: Examples) -> Examples:
        return Examples(every.images, every.labels, every.ids // 2)


class SharedImages(Dots):
    def spoilt(self, every: Examples) -> Examples:
        images = every.images.index_fill(0, torch.tensor([5, 11]), 0.5)
        return Examples(images, every.labels, every.ids)


class AnotherEveryTime(Dots):
    def spoilt(self, every: Examples) -> Examples:
        return Examples(torch.rand(12, 1, 2, 2), every.labels, every.ids)


DATASETS: dict[type[Dataset], set[str]] = {
    Dots: set(),
    WrongShape: {"has-the-shape-it-declares"},
    OutsideTheBox: {"has-the-shape-it-declares"},
    UnknownLabels: {"has-labels-of-its-classes"},
    RepeatedIds: {"has-ids-of-its-own"},
    SharedImages: {"judges-on-images-that-nobody-has-seen"},
    AnotherEveryTime: {"reads-the-same-twice"},
}


@pytest.mark.parametrize("kind", DATASETS, ids=lambda kind: kind.__name__)
def test_a_data_set_that_breaks_the_contract_is_told_by_the_check_for_it(kind: type[Dataset]) -> None:
    assert failed(kind()) == DATASETS[kind]


def test_a_data_set_that_is_elsewhere_is_skipped_and_not_failed() -> None:
    class Elsewhere(Dots):
        def find(self, folders: DataFolders) -> str | None:
            return None

    results = list(run_checks(checks(Elsewhere())))
    assert {result.ok for result in results} == {True, None}
    assert any("not on this machine" in result.message for result in results)


# What the kit takes


def test_three_lines_check_a_strangers_module() -> None:
    module = types.ModuleType("stranger")
    module.advbench_attacks = hookimpl(lambda: [Fair(), PGD(steps=3)])  # type: ignore[attr-defined]
    names = [check.name for check in checks(module)]
    assert "bad-linf-stays-in-ball" in names
    assert "pgd(steps=3)-wasserstein-targeted-repeats" in names
    assert [check.__name__ for check in checks(module)] == names
    assert len(set(names)) == len(names)


def test_a_hook_without_its_mark_is_not_passed_over_in_silence() -> None:
    module = types.ModuleType("stranger")
    module.advbench_attacks = lambda: [Fair()]  # type: ignore[attr-defined]
    with pytest.raises(AdvbenchError, match="lacks the mark @hookimpl"):
        checks(module)


@pytest.mark.parametrize("source", [types.ModuleType("empty"), Fair], ids=["module", "class"])
def test_nothing_to_check_is_said(source: types.ModuleType) -> None:
    with pytest.raises(AdvbenchError, match=r"nothing to check|can't check"):
        checks(source)


@dataclass(frozen=True)
class Borrower(Attack):
    """Does what another one does."""

    name = "borrower"
    threats = frozenset({"linf"})
    needs = Access.GRADIENTS
    builds_on = ("attack",)

    attack: str = "lender"

    def perturb(self, problem: Problem) -> Tensor:
        return self.others["attack"].perturb(problem)


@dataclass(frozen=True)
class Lender(PGD):
    name = "lender"
    trial = {"steps": 5}


def test_an_attack_that_builds_on_another_is_tried_with_one_that_comes_with_it_or_is_installed() -> None:
    found = [check for check in checks(Borrower(), Lender(steps=5)) if check.plugin == "borrower"]
    assert {"linf-stays-in-ball", "linf-repeats"} <= {check.what for check in found}
    assert all(ok for _, ok, _ in run_checks(found))
    known = Registry(attacks={"lender": Lender(steps=5)})
    assert all(ok for _, ok, _ in run_checks(checks(Borrower(), registry=known)))


def test_an_attack_that_builds_on_an_unknown_one_fails_with_its_name() -> None:
    (wrong,) = (one for one in run_checks(checks(Borrower(), registry=Registry())) if one.ok is False)
    assert wrong.name == "borrower-builds-on-known-attacks"
    assert "unknown attack 'lender'" in wrong.message


def test_a_class_that_is_not_declared_fails_one_check_and_not_all() -> None:
    class Nameless(Attack):
        def perturb(self, problem: Problem) -> Tensor:
            return problem.start()

    (result,) = run_checks(checks(Nameless()))
    assert result.ok is False
    assert "declares no name" in result.message


# `advbench check`


def checked(*arguments: str, **entrants: dict[str, Plugin]) -> tuple[int, str]:
    app = typer.Typer()
    app.callback()(lambda: None)
    app.command("check")(check)
    registry = Registry(**entrants) if entrants else discover()  # type: ignore[arg-type]
    result = CliRunner().invoke(app, ["check", *arguments], obj=App(registry))
    if isinstance(result.exception, AdvbenchError):
        raise result.exception
    return result.exit_code, result.output


def test_the_command_passes_what_is_right_and_fails_what_is_wrong() -> None:
    code, output = checked("bad", attacks={"bad": Fair()})
    assert (code, output.strip().split(" ", 1)[1]) == (0, "passed")
    code, output = checked("bad", attacks={"bad": LeavesTheBall()})
    assert code == 1
    assert "FAILED   bad-linf-stays-in-ball: bad:" in output
    assert "return problem.project(p)" in output


def test_the_command_takes_names_parameters_and_packages() -> None:
    assert "pgd(steps=2)-linf-stays-in-ball" in checked("pgd(steps=2)", "--verbose")[1]
    assert "mnist-5k-" in checked("datasets", "--verbose")[1]
    with pytest.raises(AdvbenchError, match="did you mean 'pgd'"):
        checked("pdg")


def test_the_command_says_once_what_is_not_here() -> None:
    class Elsewhere(Dots):
        def find(self, folders: DataFolders) -> str | None:
            return None

    code, output = checked(datasets={"bad": Elsewhere()}, attacks={"fair": Fair()}, threats={})
    assert code == 0
    assert output.count("not on this machine") == 1
    assert output.strip().endswith("passed, 5 not here")


def test_the_command_fails_where_nothing_could_be_tried_and_says_why() -> None:
    class Elsewhere(Dots):
        def find(self, folders: DataFolders) -> str | None:
            return None

    for arguments in ([], ["bad"]):
        code, output = checked(*arguments, datasets={"bad": Elsewhere()}, threats={})
        assert code == 1
        assert "nothing could be tried: bad is not on this machine" in output
        assert "2 passed, 1 failed, 5 not here" in output
    named = checked("bad", "pgd(steps=2)", datasets={"bad": Elsewhere()}, attacks={"pgd": PGD()})
    assert named[0] == 1, "the attack beside it was tried, the data set that was named was not"
    code, output = checked(models={"bad": OnlyLarge()}, threats={})
    assert code == 1
    (line,) = [line for line in output.splitlines() if line.startswith("FAILED")]
    assert "bad: nothing could be tried on images of 1 x 28 x 28 in 10 classes and 3 x 32 x 32" in line
    assert "large photographs only; where it takes other images, declare so: `shape = (3, 224, 224)`" in line


def test_a_package_that_ships_commands_alone_is_known_to_the_command() -> None:
    with pytest.raises(AdvbenchError, match="ships nothing that can be checked"):
        checked("leaderboard")
