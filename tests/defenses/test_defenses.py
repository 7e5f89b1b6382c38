"""What each defense does to training, answers and suspicion, and what it leaves to attackers."""

from __future__ import annotations

import io
import itertools
import math
import random
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from rich.console import Console
from scipy import ndimage, stats
from torch import Tensor, nn

from advbench.access import Access
from advbench.audit.verification import verify
from advbench.data import DataFolders, Examples
from advbench.draws import Draws
from advbench.errors import AdvbenchError
from advbench.goal import Goal
from advbench.plugin import Dataset, Defense, Model
from advbench.plugins.compatibility import offered, why_no_target
from advbench.plugins.discovery import discover
from advbench.plugins.values import core_threat
from advbench.problem.batches import BatchSize
from advbench.problem.problem import Problem
from advbench.recipe import Recipe
from advbench.run.run import run
from advbench.run.session import Settings
from advbench.store import Store
from advbench.suite.suite import suite_from_mapping
from advbench.target.answer import DRAWS, NO_ANSWER, Answer, majority
from advbench.target.identity import TargetPlan
from advbench.target.target import Target, prepare
from advbench.terminal.tables import print_boards
from advbench.testing.stage import HalfSpace, StageNet, data_of, images
from advbench.threats import Linf, RotateShift
from advbench.weights.training import effective_recipe, train
from advbench.weights.weights import weights_key
from advbench_datasets.mnist_5k import Mnist5k
from advbench_defenses.adversarial_training import AdversarialTraining
from advbench_defenses.binarize import Binarize
from advbench_defenses.common.binomial import lower_bound, needed
from advbench_defenses.common.in_front import InFront
from advbench_defenses.feature_squeezing import FeatureSqueezing
from advbench_defenses.gaussian_noise import GaussianNoise
from advbench_defenses.jpeg import Jpeg
from advbench_defenses.randomized_smoothing import RandomizedSmoothing, Smoothed
from advbench_defenses.reconstruction import Reconstruction
from advbench_defenses.reseed import Reseed

SHAPE = (1, 8, 8)
CPU = torch.device("cpu")
NOBODY = images(0, SHAPE)


@dataclass(frozen=True)
class Lent(Model):
    """A network that is there already."""

    name = "lent"
    offers = Access.ALL

    def build(self, dataset: Dataset) -> nn.Module:
        return StageNet(dataset.shape, dataset.classes)

    def recipe(self, dataset: Dataset) -> Recipe | None:
        return None


def behind(
    *defenses: Defense,
    net: nn.Module | None = None,
    shape: tuple[int, int, int] = SHAPE,
    k: int = 10,
    thresholds: dict[str, float] | None = None,
) -> Target:
    """The kit's network behind these defenses."""
    dataset = data_of(shape, k)
    return prepare(
        TargetPlan(dataset, Lent(), defenses),
        dataset.load(DataFolders()),
        net or StageNet(shape, k),
        weights_sha256="",
        origins={},
        false_positive_rate=0.05,
        device=CPU,
        thresholds=thresholds,
    )


def test_a_threshold_is_set_once_for_all_who_share_their_thresholds() -> None:
    shared: dict[str, float] = {}
    first = behind(FeatureSqueezing(), thresholds=shared)
    assert shared == {first.key: first.threshold}
    shared[first.key] = -1.0  # none that could be measured, so that it must come from here
    assert behind(FeatureSqueezing(), thresholds=shared).threshold == -1.0
    assert behind(FeatureSqueezing()).threshold == first.threshold
    plain = behind(Binarize(), thresholds=shared)
    assert plain.threshold is None
    assert plain.key not in shared


def problem(target: Target, x: Tensor, labels: Tensor, **more: Any) -> Problem:
    settings: dict[str, Any] = {
        "threat": Linf(0.3),
        "access": Access.GRADIENTS,
        "draws": Draws(0, "test", torch.arange(len(x))),
    }
    return Problem(images=x, goal=Goal(labels), target=target, batch=BatchSize(64), **settings | more)


# Operations in front of the network

CHANGES = {
    "binarize": (Binarize().binarized, lambda x: (x >= 0.5).float()),
    "fewer bits": (FeatureSqueezing(bits=3).fewer_bits, lambda x: (x * 7).round() / 7),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_step_function_answers_with_its_steps_and_offers_the_gradient_of_none(change: str) -> None:
    changed, expected = CHANGES[change]
    x = images(4, SHAPE).requires_grad_()
    answer = changed(x)
    assert torch.equal(answer, expected(x.detach()))
    weights = Draws(0, "weights", torch.arange(4)).normal(*SHAPE)
    (gradient,) = torch.autograd.grad((answer * weights).sum(), x)
    assert torch.equal(gradient, weights)


def test_a_pixel_at_the_threshold_is_white() -> None:
    x = torch.tensor([0.0, 0.2, 0.25, 0.9]).view(1, 1, 2, 2)
    assert Binarize(threshold=0.25).binarized(x).flatten().tolist() == [0, 0, 1, 1]


@pytest.mark.parametrize("window", [1, 2, 3, 4, 5])
def test_the_median_is_the_one_that_the_paper_s_authors_use(window: int) -> None:
    x = images(3, (2, 7, 9))
    expected = ndimage.median_filter(x.numpy(), size=(1, 1, window, window), mode="reflect")
    assert torch.equal(FeatureSqueezing(window=window).smoothed(x), torch.from_numpy(expected))


def encoded(x: Tensor, quality: int) -> Tensor:
    """Levels from 0 to 255, after the way through a file."""
    found = []
    for levels in (255 * x).round().byte().permute(0, 2, 3, 1).squeeze(3).numpy():
        file = io.BytesIO()
        Image.fromarray(levels).save(file, format="JPEG", quality=quality)
        found.append(torch.from_numpy(np.array(Image.open(file))).float())
    pixels = torch.stack(found)
    return pixels.unsqueeze(1) if pixels.ndim == 3 else pixels.permute(0, 3, 1, 2)


@pytest.mark.parametrize(("quality", "mean"), [(95, 0.3), (75, 0.3), (30, 0.6)])
def test_jpeg_is_what_a_common_encoder_makes_of_grey_images(quality: int, mean: float) -> None:
    x = torch.nn.functional.interpolate(images(12, (1, 6, 6)), size=(28, 28), mode="bilinear")
    theirs = encoded(x, quality)
    ours = 255 * Jpeg(quality=quality).round_trip(x)
    assert float((ours - theirs).abs().mean()) < mean  # that one computes in integers and rounds other ties
    assert float((ours - theirs).abs().gt(1).float().mean()) < 0.05
    assert float((255 * x - theirs).abs().mean()) > 1.5 * mean


def test_jpeg_is_what_a_common_encoder_makes_of_colours() -> None:
    x = torch.nn.functional.interpolate(images(8, (3, 5, 5)), size=(29, 32), mode="bilinear")
    theirs = encoded(x, 75)
    ours = 255 * Jpeg().round_trip(x)
    assert float((ours - theirs).abs().mean()) < 0.4 * float((255 * x - theirs).abs().mean())


def test_jpeg_offers_the_straight_gradient() -> None:
    x = images(2, (3, 9, 9)).requires_grad_()
    (gradient,) = torch.autograd.grad(Jpeg().round_trip(x).sum(), x)
    assert torch.equal(gradient, torch.ones_like(x))


def test_jpeg_refuses_what_no_file_holds() -> None:
    reason = why_no_target(Lent(), (Jpeg(),), data_of((2, 8, 8)))
    assert reason == "jpeg: a JPEG file holds one channel or three, not 2"


def test_a_network_behind_an_operation_still_redraws() -> None:
    net, x = StageNet(SHAPE), images(3, SHAPE)
    classes = torch.tensor([0, 1, 2])
    redrawn = InFront(net, Binarize().binarized).reconstruct(x, classes)
    assert torch.equal(redrawn, net.reconstruct((x >= 0.5).float(), classes))


# Feature squeezing


class OnePixel(nn.Module):
    """Two classes; the lead is ten times what one pixel has above a half."""

    def forward(self, x: Tensor) -> Tensor:
        lead = 10 * (x[:, 0, 2, 2] - 0.5)
        return torch.stack((-lead / 2, lead / 2), 1)


def test_squeezing_suspects_by_the_largest_distance_between_the_answers() -> None:
    x = torch.full((2, 1, 4, 4), 0.4)
    x[1, 0, 2, 2] = 0.9  # alone among dark ones: the median removes it
    found = FeatureSqueezing().suspicion(OnePixel(), x)
    share = torch.sigmoid(10 * torch.tensor([0.4, 0.9, 0.0, 1.0]) - 5)
    assert found[0] == pytest.approx(2 * float((share[0] - share[2]).abs()))
    assert found[1] == pytest.approx(2 * float((share[1] - share[0]).abs()))


@pytest.mark.parametrize(("answers", "expected"), [("plain", 0.4), ("bits", 0.0), ("median", 0.4)])
def test_squeezing_answers_about_the_image_that_was_asked_for(answers: str, expected: float) -> None:
    net = FeatureSqueezing(answers=answers).wrap(OnePixel(), Examples(NOBODY, torch.tensor([]), torch.tensor([])))
    lead = net(torch.full((1, 1, 4, 4), 0.4)).diff(dim=1)
    assert float(lead) == pytest.approx(10 * (expected - 0.5))


# Randomized smoothing


@pytest.mark.parametrize(("successes", "trials"), [(1, 10), (9, 10), (100, 100), (51, 100), (993, 1000), (700, 1000)])
@pytest.mark.parametrize("alpha", [0.001, 0.05])
def test_the_lower_bound_is_that_of_clopper_and_pearson_and_never_above(
    successes: int, trials: int, alpha: float
) -> None:
    exact = stats.beta.ppf(alpha, successes, trials - successes + 1)
    assert lower_bound(successes, trials, alpha) == pytest.approx(exact, abs=1e-9)
    assert lower_bound(successes, trials, alpha) <= exact + 1e-12
    assert lower_bound(0, trials, alpha) == 0


def test_a_vote_is_an_answer_when_a_coin_would_hardly_give_it() -> None:
    for both, least in enumerate(needed(60, 0.01).tolist()):
        enough = [n for n in range(both + 1) if 2 * n > both and stats.binomtest(n, both, 0.5).pvalue <= 0.01]
        assert least == (enough[0] if enough else both + 1)


@pytest.mark.parametrize("distance", [0.05, 0.2, 0.4])
def test_a_certified_radius_stays_below_a_known_margin_and_comes_close(distance: float) -> None:
    net = HalfSpace((1, 6, 6))
    defense = RandomizedSmoothing(sigma=0.1, proof=2000)
    x = net.beside(30, distance)
    predicted, radius = defense.certify(Smoothed(net, 0.1, 100), x, torch.arange(30))
    proved = predicted >= 0
    assert bool((predicted[proved] == 1).all())
    assert float(radius.max()) <= distance  # 30 proofs, of which one in a thousand may fail
    # what the closed form leaves for so many samples: the classifier's own vote is known exactly
    share = stats.norm.cdf(distance / 0.1)
    usual = stats.beta.ppf(0.001, max(1, math.floor(2000 * share)), 2001 - math.floor(2000 * share))
    due = 0.1 * stats.norm.ppf(usual) if share < 0.999 else 0.1 * stats.norm.ppf(0.001 ** (1 / 2000))
    assert float(radius.median()) == pytest.approx(due, abs=0.02)


def test_proofs_draw_noise_of_their_own_for_every_example() -> None:
    net = Smoothed(HalfSpace((1, 6, 6)), 0.1, 10)
    x = net.net.beside(1, 0.1).expand(20, -1, -1, -1)  # type: ignore[operator]
    found = RandomizedSmoothing(sigma=0.1).certify(net, x, torch.arange(20))[1]
    assert len(found.unique()) > 10
    assert torch.equal(found[5:9], RandomizedSmoothing(sigma=0.1).certify(net, x[5:9], torch.arange(5, 9))[1])


def test_a_close_vote_is_a_refusal_that_counts_as_wrong_and_as_a_success() -> None:
    net = HalfSpace(SHAPE)
    target = behind(RandomizedSmoothing(sigma=0.1), net=net, k=2)
    x = torch.cat([net.beside(3, 0.3), net.beside(3, 0.0)])
    answer = target.answer(x, BatchSize(64))
    assert answer.predicted.tolist() == [1, 1, 1, NO_ANSWER, NO_ANSWER, NO_ANSWER]
    assert bool(answer.finite.all())
    asked = problem(target, x, torch.ones(6, dtype=torch.int64))
    asked.logits(asked.start())
    assert asked.found.tolist() == [False, False, False, True, True, True]
    aiming = Problem(
        images=x,
        goal=Goal(torch.ones(6, dtype=torch.int64), targeted=True),
        threat=Linf(0.3),
        target=target,
        access=Access.LOGITS,
        draws=Draws(0, "test", torch.arange(6)),
    )
    aiming.logits(aiming.start())
    assert aiming.found.tolist() == [True, True, True, False, False, False]


def test_smoothing_answers_the_same_again_in_any_company_and_no_two_images_share_noise() -> None:
    net = Smoothed(StageNet(SHAPE), 0.3, 20)
    x = images(6, SHAPE)
    with torch.no_grad():
        together = net(x)
        assert torch.equal(together, net(x))
        assert torch.equal(together[[4, 1]], net(x[[4, 1]]))
    target = behind(RandomizedSmoothing(sigma=0.3, samples=20))
    assert target.draws == 1
    seen: list[Tensor] = []
    net.net.register_forward_pre_hook(lambda module, given: seen.append(given[0] - 0.5))
    with torch.no_grad():
        net(torch.stack([torch.full(SHAPE, 0.5), torch.full(SHAPE, 0.5), torch.full(SHAPE, 0.501)]))
    assert torch.equal(seen[0][0], seen[0][1])
    assert float(torch.corrcoef(torch.stack([seen[0][0].flatten(), seen[0][2].flatten()]))[0, 1]) < 0.5
    assert not torch.equal(seen[0], seen[1])


def test_smoothing_offers_the_gradient_of_its_mean_softmax() -> None:
    inner = StageNet(SHAPE)
    net = Smoothed(inner, 0.2, 7)
    seen: list[Tensor] = []
    handle = inner.register_forward_pre_hook(lambda module, given: seen.append(given[0].detach()))
    x = images(3, SHAPE)
    with torch.no_grad():
        hard = net(x)
    handle.remove()
    votes = torch.stack([inner(noisy).argmax(1) for noisy in seen])
    shares = nn.functional.one_hot(votes, 10).sum(0)
    assert torch.allclose(hard.exp() * (7 + 5) - 0.5, shares.float(), atol=1e-4)
    q = x.clone().requires_grad_()
    (found,) = torch.autograd.grad(net(q)[:, 2].sum(), q)
    q = x.clone().requires_grad_()
    noise = [noisy - x for noisy in seen]
    clear = [((noisy > 0) & (noisy < 1)).float() for noisy in seen]  # where clipping lets the gradient through
    copies = [q * keep + (x * (1 - keep) + rest) for keep, rest in zip(clear, noise, strict=True)]
    mean = torch.stack([inner(copy).softmax(1) for copy in copies]).mean(0)
    (due,) = torch.autograd.grad(mean.log()[:, 2].sum(), q)
    assert torch.allclose(found, due, atol=1e-4 * float(due.abs().max()))


# Randomised targets


def test_a_target_that_draws_is_found_and_judged_by_what_most_draws_say() -> None:
    target = behind(GaussianNoise(sigma=0.5))
    assert (target.draws, target.repeats) == (DRAWS, True)
    x = images(40, SHAPE, first=500)
    first, again = (target.answer(x, BatchSize(16)) for _ in range(2))
    assert torch.equal(first.predicted, again.predicted)
    assert torch.equal(first.confidence, again.confidence)
    alone = replace(target, draws=1)
    assert not torch.equal(alone.answer(x, BatchSize(16)).confidence, alone.answer(x, BatchSize(16)).confidence)


def test_asking_a_randomised_target_leaves_the_generators_where_they_were() -> None:
    target = behind(GaussianNoise())
    torch.manual_seed(3)
    due = torch.rand(2)
    torch.manual_seed(3)
    target.answer(images(3, SHAPE), BatchSize(8))
    assert torch.equal(torch.rand(2), due)


@dataclass(frozen=True)
class Dice(Defense):
    """Draws where no seed of torch's reaches."""

    name = "dice"

    def wrap(self, net: nn.Module, calibrate: Examples) -> nn.Module:
        return InFront(net, lambda x: x * (1 - 0.1 * random.random()))


def test_draws_that_no_seed_reaches_are_known_not_to_repeat() -> None:
    target = behind(Dice())
    assert (target.draws, target.repeats) == (DRAWS, False)


def test_a_defense_without_chance_is_asked_once() -> None:
    for defense in (Binarize(), Jpeg(), FeatureSqueezing()):
        assert (behind(defense).draws, behind(defense).repeats) == (1, True)


def said(*predicted: int, confidence: float = 0.5, suspicion: float | None = None) -> Answer:
    n = len(predicted)
    return Answer(
        predicted=torch.tensor(predicted),
        confidence=torch.full((n,), confidence),
        lead=torch.ones(n),
        least_likely=torch.zeros(n, dtype=torch.int64),
        finite=torch.ones(n, dtype=torch.bool),
        suspicion=None if suspicion is None else torch.full((n,), suspicion),
    )


def test_most_draws_decide_then_the_surer_ones_and_the_middle_suspicion_counts() -> None:
    found = majority([said(3, 1, suspicion=9.0), said(2, 2, suspicion=0.0), said(3, 4, confidence=0.9, suspicion=1.0)])
    assert found.predicted.tolist() == [3, 4]
    assert found.confidence.tolist() == pytest.approx([(0.5 + 0.9) / 3, 0.9 / 3])
    assert found.lead.tolist() == pytest.approx([1 / 3, -1 / 3])
    assert found.suspicion is not None
    assert found.suspicion.tolist() == [1, 1]


class Lucky(nn.Module):
    """Class 1 where the first pixel is above a fresh random number, else class 0."""

    def forward(self, x: Tensor) -> Tensor:
        lead = (x[:, 0, 0, 0] > torch.rand(len(x))).float() - 0.5 + 0 * x.flatten(1).sum(1)
        return torch.stack((-lead, lead), 1)


def test_a_success_that_was_luck_is_not_kept() -> None:
    target = replace(behind(net=Lucky(), k=2), draws=DRAWS)
    x = torch.cat([torch.full((50, *SHAPE), 0.1), torch.full((50, *SHAPE), 0.95)])
    asked = problem(target, x, torch.zeros(100, dtype=torch.int64))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for _ in range(5):
            asked.logits(asked.start())
    assert int(asked.found[:50].sum()) <= 1  # each was fooled once in ten passes
    assert int(asked.found[50:].sum()) >= 48
    assert int(asked.forwards[50:].max()) >= 1 + DRAWS


# Adversarial training


def batch(defense: AdversarialTraining, progress: float = 1.0, net: nn.Module | None = None) -> tuple[Tensor, Tensor]:
    """What becomes of twelve images, and these images."""
    x = images(12, SHAPE)
    net = (net or StageNet(SHAPE)).eval().requires_grad_(False)
    labels = net(x).argmax(1)
    return defense.training_batch(net, x, labels, Draws(0, "train", torch.arange(12)), progress)[0], x


BALLS = ["linf(eps=0.1)", "l2(eps=0.5)", "wasserstein(eps=0.3, kernel=3)", "rotate-shift(degrees=20, pixels=1)"]


@pytest.mark.parametrize("rule", ["steepest", "adam", "worst-of-k"])
@pytest.mark.parametrize("ball", BALLS)
def test_every_rule_makes_training_images_worse_in_every_ball(ball: str, rule: str) -> None:
    net = StageNet(SHAPE).eval()
    worst, x = batch(AdversarialTraining(threat=ball, rule=rule), net=net)
    labels = net(x).argmax(1)
    loss = Goal(labels).cross_entropy
    assert float(loss(net(worst)).mean()) > float(loss(net(x)).mean())
    if ball.startswith(("linf", "l2")):
        whole = core_threat(ball)
        assert float(whole.size(x, worst - x).max()) <= whole.eps * (1 + 1e-5)


def test_the_radius_grows_within_a_climb_and_ends_at_the_ball_s_own() -> None:
    wong = AdversarialTraining(threat="wasserstein(eps=2.1, power=2)", steps=50, growth=1.4, stop="first", warm_up=0)
    ball = core_threat(wong.threat)
    radii = [wong._grown(ball, turn).eps for turn in range(50)]
    assert radii[0] == pytest.approx(0.1, abs=0.002)
    assert radii[4] == radii[0] < radii[5]
    assert radii[-1] == 2.1
    assert len(set(radii)) == 10


def test_a_fooled_image_climbs_no_further_and_a_growing_radius_then_changes_less() -> None:
    far, x = batch(AdversarialTraining(threat="linf(eps=0.5)", steps=40))
    near, _ = batch(AdversarialTraining(threat="linf(eps=0.5)", steps=40, growth=1.5, stop="first"))
    net = StageNet(SHAPE).eval()
    assert bool((net(near).argmax(1) != net(x).argmax(1)).all())
    assert float((near - x).abs().amax((1, 2, 3)).mean()) < 0.5 * float((far - x).abs().amax((1, 2, 3)).mean())


def test_worst_of_k_takes_the_draw_of_the_highest_loss() -> None:
    ball, net, x = RotateShift(degrees=20, pixels=1), StageNet(SHAPE).eval(), images(12, SHAPE)
    labels = net(x).argmax(1)
    worst, _ = batch(AdversarialTraining(threat="rotate-shift(degrees=20, pixels=1)", rule="worst-of-k", steps=7))
    draws = Draws(0, "train", torch.arange(12))
    looks = [ball.apply(x, ball.start(x, draws)).clamp(0, 1) for _ in range(7)]
    highest = torch.stack([Goal(labels).cross_entropy(net(look)) for look in looks]).amax(0)
    assert torch.allclose(Goal(labels).cross_entropy(net(worst)), highest)


@pytest.mark.parametrize(
    ("ball", "complaint"),
    [
        ("corruption", "adversarial-training can't train in corruption balls; take one of linf, l2"),
        ("linf(eps=inf)", "adversarial-training: a ball without a radius has no worst case"),
        ("lnf", "adversarial-training: threat: unknown threat 'lnf'"),
    ],
)
def test_a_ball_in_which_nothing_can_be_trained_is_one_line(ball: str, complaint: str) -> None:
    with pytest.raises(AdvbenchError) as error:
        AdversarialTraining(threat=ball)
    assert str(error.value).startswith(complaint)
    assert "\n" not in str(error.value)


# Reseed


def weights_of(model: Model, *defenses: Defense) -> dict[str, Tensor]:
    dataset = data_of(SHAPE)
    return train(TargetPlan(dataset, model, list(defenses)), dataset.load(DataFolders())).state


def equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return all(torch.equal(value, other[name]) for name, value in one.items())


def test_another_seed_gives_another_network_and_the_same_one_every_time() -> None:
    second = weights_of(Plain(), Reseed())
    assert equal(second, weights_of(Plain(), Reseed()))
    networks = [weights_of(Plain()), second, weights_of(Plain(), Reseed(seed=2))]
    assert not any(equal(one, other) for one, other in itertools.combinations(networks, 2))
    assert equal(networks[0], weights_of(Plain(), Reseed(seed=0)))


def test_another_seed_goes_together_with_other_training_in_either_order() -> None:
    adversarial = AdversarialTraining(threat="linf(eps=0.3)", steps=2, warm_up=0)
    both = weights_of(Plain(), Reseed(), adversarial)
    assert equal(both, weights_of(Plain(), adversarial, Reseed()))
    assert not equal(both, weights_of(Plain(), adversarial))
    assert not equal(both, weights_of(Plain(), Reseed()))


def test_another_seed_is_another_key() -> None:
    dataset = data_of(SHAPE)
    data = dataset.load(DataFolders())
    chains = [(), (Reseed(),), (Reseed(seed=2),), (AdversarialTraining(),), (Reseed(), AdversarialTraining())]
    recipes = [effective_recipe(TargetPlan(dataset, Plain(), chain)) for chain in chains]
    assert [recipe.seed for recipe in recipes if recipe] == [0, 1, 2, 0, 1]
    keys = {
        weights_key(TargetPlan(dataset, Plain(), chain), data, recipe)
        for chain, recipe in zip(chains, recipes, strict=True)
        if recipe
    }
    assert len(keys) == len(chains)


# Composition


@dataclass(frozen=True)
class Plain(Model):
    """A line, which keeps what it is trained on."""

    name = "plain"

    def build(self, dataset: Dataset) -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))

    def recipe(self, dataset: Dataset) -> Recipe:
        return Recipe(epochs=1, batch=16, floor=0.0)

    def loss(self, net: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
        SEEN.append(images.detach())
        return super().loss(net, images, labels)


SEEN: list[Tensor] = []


@pytest.mark.parametrize(
    ("chain", "reason"),
    [
        ("adversarial-training+reconstruction", ""),
        ("adversarial-training+binarize", ""),
        ("binarize+adversarial-training", ""),
        ("jpeg+reconstruction", ""),
        ("reconstruction+jpeg", ""),
        ("gaussian-noise+adversarial-training", ""),
        ("jpeg+randomized-smoothing", ""),
        ("reconstruction+randomized-smoothing", ""),
        ("noise-training+randomized-smoothing", ""),
        ("reseed+reconstruction", ""),
        ("reseed+adversarial-training", ""),
        ("adversarial-training+reseed+reconstruction", ""),
        ("reconstruction+reseed", "reseed changes training and must come before reconstruction"),
        ("reconstruction+feature-squeezing", "two detectors, reconstruction and feature-squeezing: keep one of them"),
        ("reconstruction+adversarial-training", "adversarial-training changes training and must come before"),
        ("randomized-smoothing+jpeg", "jpeg changes answers and must come before randomized-smoothing, which proves"),
        (
            "randomized-smoothing+reconstruction",
            "reconstruction needs reconstruction, which randomized-smoothing hides: write reconstruction before it",
        ),
    ],
)
def test_chains_that_mean_something_are_served_and_others_refused_in_a_line(chain: str, reason: str) -> None:
    registry = discover()
    model = registry.model("cnn-cr")
    found = why_no_target(model, registry.defense(chain), Mnist5k()) or ""
    assert found.startswith(reason)
    assert bool(found) == bool(reason)
    assert "\n" not in found


def test_a_detector_that_redraws_says_what_the_model_lacks() -> None:
    reason = why_no_target(Plain(), (Reconstruction(),), data_of(SHAPE))
    assert reason == "reconstruction needs reconstruction, which plain does not offer: take a model that does"


@pytest.mark.parametrize(
    ("chain", "access"),
    [
        ("binarize", Access.GRADIENTS | Access.RECONSTRUCTION),
        ("jpeg+reconstruction", Access.ALL),
        ("feature-squeezing", Access.ALL),
        ("randomized-smoothing", Access.GRADIENTS),
        ("reconstruction+randomized-smoothing", Access.GRADIENTS | Access.SUSPICION),
        ("gaussian-noise+adversarial-training", Access.GRADIENTS | Access.RECONSTRUCTION),
    ],
)
def test_what_attackers_may_still_ask_is_computed(chain: str, access: Access) -> None:
    registry = discover()
    assert offered(registry.model("cnn-cr"), registry.defense(chain)) == access


def test_a_network_may_be_trained_behind_what_stands_before_a_training_defense() -> None:
    dataset = data_of(SHAPE)
    data = dataset.load(DataFolders())
    attacked = AdversarialTraining(threat="linf(eps=0.1)", steps=2)

    def trained(*defenses: Defense) -> dict[str, Tensor]:
        SEEN.clear()
        return train(TargetPlan(dataset, Plain(), defenses), data).state

    first = trained(Binarize(), attacked)
    assert set(torch.cat(SEEN).unique().tolist()) == {0.0, 1.0}
    after = trained(attacked, Binarize())
    assert len(torch.cat(SEEN).unique()) > 100
    assert any(not torch.equal(first[key], after[key]) for key in first)

    def key(*defenses: Defense) -> str:
        return weights_key(TargetPlan(dataset, Plain(), defenses), data, Recipe())

    assert key(attacked) == key(attacked, Binarize()) != key(Binarize(), attacked)


# The whole way


@pytest.mark.slow
def test_attacks_find_sensible_facts_behind_each_defense_and_they_verify(tmp_path: Path) -> None:
    registry = discover()
    smoothing = "randomized-smoothing(samples=16, alpha=0.1, proof=100)"
    with Store.open(tmp_path / "first.sqlite") as store:
        suite = {
            "data": "mnist-5k",
            "models": ["small-cnn"],
            "attacks": ["pgd(steps=10)"],
            "threats": ["linf(eps=0.15)"],
        }
        run(suite_from_mapping({**suite, "examples": 20}, registry), store, registry, Settings())
        crafted = store.rows("SELECT key FROM cells")[0]["key"]
    defenses = ["none", "binarize", "feature-squeezing", "gaussian-noise", "jpeg", smoothing]
    attacks = ["pgd(steps=10)", "square(queries=40)"]
    transfer = f'transfer(file="{tmp_path / "first.sqlite"}", cell="{crafted}")'
    given = {
        "data": "mnist-5k",
        "models": ["small-cnn"],
        "defenses": defenses,
        "examples": 20,
        "threats": [{"linf(eps=0.15)": {"attacks": [*attacks, transfer]}}, {"l2(eps=0.3)": {"attacks": attacks[:1]}}],
    }
    with Store.open(tmp_path / "second.sqlite") as store:
        summary = run(suite_from_mapping(given, registry), store, registry, Settings())
        assert summary.failed == []
        rates = {
            (row["target_label"].removeprefix("small-cnn").removeprefix("+"), row["attack"].split("(")[0]): row[
                "accuracy"
            ]
            for row in store.rates("attack_accuracy")
            if row["board_name"].startswith("mnist-5k/linf")
        }
        clean = {row["target_label"]: row["accuracy"] for row in store.rates("clean_accuracy")}
        assert min(clean.values()) >= 0.9
        for defense in ("", "feature-squeezing", "jpeg", smoothing):
            assert rates[defense, "pgd"] < 0.5, "the gradient that is offered leads nowhere"
        for defense in {name for name, _ in rates}:
            assert rates[defense, "pgd"] <= rates[defense, "square"] + 0.1
            assert rates[defense, "pgd"] <= rates[defense, "transfer"] + 0.1, "gradients are masked"
        assert rates["binarize", "pgd"] > rates["", "pgd"]
        (proof,) = store.rates("certified")
        assert proof["board_name"].startswith("mnist-5k/l2")
        assert proof["accuracy"] > 0.5
        refuted = """
            SELECT o.example FROM outcomes o
            JOIN cells k ON k.id = o.cell JOIN certificates p USING (target, example)
            WHERE o.violation IS NULL AND k.threat = 'l2' AND o.size <= p.radius
              AND o.predicted NOT IN (p.predicted, -1)
        """
        assert store.rows(refuted) == []
        console = Console(width=200, record=True, file=io.StringIO())
        print_boards(console, store)
        assert f"small-cnn+{smoothing} is proved right in the whole ball: " in console.export_text()
        noted = store.rows("SELECT t.label, t.draws, n.kind FROM notes n JOIN targets t ON t.id = n.target")
        assert noted == [{"label": "small-cnn+gaussian-noise", "draws": DRAWS, "kind": "randomised"}]
        checked = list(verify(store, registry, store.cells(), folders=DataFolders(), device=CPU))
        assert [result.differences for result in checked if not result.sound] == []
