"""`kde-prior`: the parts are what the paper says, the answer is their product, and its threshold sees unseen images."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
import torch
from scipy.stats import gaussian_kde
from torch import Tensor, nn

from advbench.data import Data, Examples
from advbench.draws import Draws
from advbench.errors import AdvbenchError
from advbench.plugin import Dataset, Model
from advbench.recipe import Recipe
from advbench.target.identity import TargetPlan
from advbench.target.target import halves, prepare
from advbench.testing.stage import data_of
from advbench_datasets.mnist import Mnist
from advbench_defenses.common.class_codes import fit_codes, halved, principal
from advbench_defenses.common.kernel_density import GRID, bandwidth, fit_density, log_density
from advbench_defenses.kde_prior import KdePrior, Posterior
from advbench_models.vgg import VggSmall

CLASSES, SIDE = 4, 4
QUICK = KdePrior(components=8, code=3, steps=40)


def normal(*shape: int, purpose: str = "normal") -> Tensor:
    return Draws(0, purpose, torch.arange(shape[0])).normal(*shape[1:])


class Clusters(nn.Module):
    """Features are the pixels; the logits are nearest centres, but where the last pixel is bright they say class 0."""

    feature_layer = "body"

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Flatten()
        self.register_buffer("centres", centres())

    def forward(self, images: Tensor) -> Tensor:
        features = self.body(images)
        logits: Tensor = -torch.cdist(features, self.centres)
        tricked = torch.zeros_like(logits)
        tricked[:, 0] = 20 * (features[:, -1] - 0.6).relu()
        return logits + tricked


@dataclass(frozen=True)
class ClustersModel(Model):
    name: ClassVar[str] = "clusters"
    feature_layer = "body"

    def build(self, dataset: Dataset) -> nn.Module:
        return Clusters()

    def recipe(self, dataset: Dataset) -> Recipe | None:
        return None


def centres() -> Tensor:
    places = Draws(0, "centres", torch.arange(CLASSES)).uniform(SIDE * SIDE, low=0.3, high=0.7)
    places[:, -1] = 0.3
    return places


def examples(count: int, first: int = 0) -> Examples:
    ids = torch.arange(first, first + count)
    labels = ids % CLASSES
    x = centres()[labels] + 0.04 * Draws(0, "examples", ids).normal(SIDE * SIDE)
    return Examples(x.clamp(0, 1).view(-1, 1, SIDE, SIDE), labels, ids)


@pytest.fixture(scope="module")
def net() -> nn.Module:
    return Clusters().eval().requires_grad_(False)


@pytest.fixture(scope="module")
def posterior(net: nn.Module) -> Posterior:
    defended = QUICK.wrap(net, examples(200))
    assert isinstance(defended, Posterior)
    return defended.eval().requires_grad_(False)


def test_densities_are_those_of_scipy_but_for_the_unit_of_each_code() -> None:
    learnt = [normal(30, 3) * torch.tensor([1.0, 5.0, 0.2]), normal(50, 3, purpose="other") + 4]
    density = fit_density(learnt, [codes[:5] + 0.1 for codes in learnt])
    at = normal(7, 3, purpose="at") * 2
    ours = density(torch.stack([at, at]))
    for k, codes in enumerate(learnt):
        theirs = gaussian_kde(codes.double().T.numpy(), bw_method=float(density.bandwidth))
        expected = theirs.logpdf(at.double().T.numpy()) - np.linalg.slogdet(density.whitening[k].double().numpy())[1]
        assert np.allclose(ours[:, k].numpy(), expected, rtol=1e-3, atol=1e-3)


def test_the_bandwidth_is_the_one_under_which_unseen_codes_are_likeliest() -> None:
    codes = [normal(400, 4), normal(400, 4, purpose="other") * 3 + 1]
    few = fit_density([c[:20] for c in codes], [c[300:] for c in codes])
    many = fit_density([c[:300] for c in codes], [c[300:] for c in codes])
    assert float(GRID[0]) < float(many.bandwidth) < float(few.bandwidth) < float(GRID[-1])
    unseen = [c[300:] for c in codes]

    def likelihood(wide: float) -> float:
        found = [
            log_density((c @ many.whitening[k])[None], many.points[k][None], many.weights[k][None], torch.tensor(wide))
            for k, c in enumerate(unseen)
        ]
        return float(torch.stack([part.sum() for part in found]).sum())

    best = float(many.bandwidth)
    assert likelihood(best) >= max(likelihood(best / 1.1), likelihood(best * 1.1))


def test_without_unseen_codes_scotts_rule_gives_the_bandwidth() -> None:
    points, weights = torch.zeros(2, 16, 4), torch.zeros(2, 16)
    learnt = [torch.zeros(16, 4)] * 2
    found = bandwidth(torch.eye(4).expand(2, 4, 4), points, weights, learnt, [torch.zeros(0, 4)] * 2)
    assert float(found) == pytest.approx(16 ** (-1 / 8))


def test_components_are_the_principal_ones_with_signs_that_do_not_depend_on_the_order() -> None:
    x = normal(60, 10) @ torch.diag(torch.arange(10, 0, -1.0)) + 3
    mean, directions = principal(x, 4)
    scores = (x - mean) @ directions
    assert float(scores.square().mean().sqrt()) == pytest.approx(1, abs=1e-4)
    covariance = scores.T @ scores / len(x)
    assert float((covariance - covariance.diag().diag()).abs().max()) < 1e-4
    share = covariance.diag() / covariance.diag().sum()
    expected = torch.linalg.svdvals((x - x.mean(0)).double())[:4].square()
    assert torch.allclose(share.double(), expected / expected.sum(), atol=1e-4)
    assert torch.allclose(principal(x.flip(0), 4)[1], directions, atol=1e-5)


def test_the_widths_halve_from_128_to_8_with_seven_hidden_layers() -> None:
    assert halved(128, 8) == [128, 64, 32, 16, 8]
    codes = fit_codes([normal(200, 150)], components=128, width=8, steps=0, rate=1e-3, seed=0)
    assert [tuple(weight.shape) for weight in codes.weights] == [(1, 128, 64), (1, 64, 32), (1, 32, 16), (1, 16, 8)]


def test_codes_keep_what_the_features_are_made_of() -> None:
    """Of features on a curved line, a code of two tells which point it is; the first weights hardly do."""
    along = torch.linspace(-2, 2, 120)
    curve = torch.stack([along, along.square(), along.sin(), along.cos(), 0.3 * along**3, 0 * along], 1)

    def confusion(steps: int) -> float:
        found = fit_codes([curve], components=6, width=2, steps=steps, rate=5e-3, seed=0).of(0, curve).detach()
        found = (found - found.mean(0)) / found.std()
        design = torch.cat([found, found.square(), found.prod(1, keepdim=True), torch.ones(120, 1)], 1)
        return float((design @ torch.linalg.lstsq(design, along[:, None]).solution - along[:, None]).square().mean())

    assert confusion(400) < 0.5 * confusion(0)


def test_a_class_does_not_learn_from_the_others() -> None:
    one, other = normal(40, 12), normal(25, 12, purpose="other") * 9
    together = fit_codes([one, other], 6, 2, 30, 1e-3, 0)
    alone = fit_codes([one], 6, 2, 30, 1e-3, 0)
    x = normal(5, 12, purpose="at")
    assert torch.allclose(together.of(0, x), alone.of(0, x), atol=1e-4)


def test_the_answer_is_the_product_renormalised(net: nn.Module, posterior: Posterior) -> None:
    x = examples(12, first=500).images
    with torch.no_grad():
        plain = net(x).softmax(1).double()
        prior = posterior.prior(x.flatten(1)).double().exp()
        expected = plain * prior
        answers = posterior(x).double()
        suspicion = QUICK.suspicion(posterior, x).double()
    assert torch.allclose(answers.exp(), expected / expected.sum(1, keepdim=True), atol=1e-4)
    assert torch.allclose(suspicion, -expected.sum(1).log(), atol=1e-2, rtol=1e-3)


def test_labels_without_support_are_mostly_corrected_and_strangers_suspect(
    net: nn.Module, posterior: Posterior
) -> None:
    part = examples(40, first=500)
    tricked = part.images.clone()
    tricked[:, :, -1, -1] = 0.85  # no feature moves but the one that the logits fall for
    with torch.no_grad():
        assert (net(part.images).argmax(1) == part.labels).all()
        assert not net(tricked).argmax(1).any()
        assert (posterior(part.images).argmax(1) == part.labels).float().mean() > 0.9
        assert (posterior(tricked).argmax(1) == part.labels).float().mean() > 0.6  # of which a quarter is class 0
        noise = Draws(0, "noise", part.ids).uniform(1, SIDE, SIDE)
        clean, strange = (QUICK.suspicion(posterior, x) for x in (part.images, noise))
    assert strange.median() > clean.max()


def test_far_from_everything_answers_and_gradients_stay_finite(posterior: Posterior) -> None:
    x = torch.stack([torch.zeros(1, SIDE, SIDE), torch.ones(1, SIDE, SIDE), 1e3 * torch.ones(1, SIDE, SIDE)])
    x.requires_grad_()
    answers, suspicion = posterior(x), QUICK.suspicion(posterior, x)
    assert answers.isfinite().all()
    assert suspicion.isfinite().all()
    (gradient,) = torch.autograd.grad(suspicion.sum() + answers[:, 0].sum(), x)
    assert gradient.isfinite().all()
    assert (gradient.flatten(1).abs().sum(1) > 0).all()


def test_a_fit_repeats_bit_for_bit_and_touches_nothing_else(net: nn.Module) -> None:
    before, generator = copy.deepcopy(net.state_dict()), torch.get_rng_state()
    with torch.no_grad():  # whoever calls it
        first, second = (QUICK.wrap(net, examples(60)).state_dict() for _ in range(2))
    assert first.keys() == second.keys()
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert torch.equal(generator, torch.get_rng_state())
    assert all(torch.equal(before[key], value) for key, value in net.state_dict().items())
    assert not any(weight.requires_grad for weight in net.parameters())


def test_a_class_that_is_missing_is_named(net: nn.Module) -> None:
    part = examples(40)
    without = part[part.labels != 2]
    with pytest.raises(AdvbenchError, match=r"kde-prior: none of the 30 held-out images it learns from is of class 2"):
        QUICK.wrap(net, without)


def test_the_threshold_is_set_on_images_that_nothing_was_learnt_from(net: nn.Module) -> None:
    every = examples(300)
    data = Data(every[:0], every, every[:10])
    target = prepare(
        TargetPlan(data_of((1, SIDE, SIDE), CLASSES), ClustersModel(), (QUICK,)),
        data,
        net,
        weights_sha256="",
        origins={},
        false_positive_rate=0.1,
        device=torch.device("cpu"),
    )
    learnt, unseen = halves(every)
    assert isinstance(target.net, Posterior)
    assert int(target.net.density.weights.isfinite().sum()) == 0.8 * len(learnt) + 2  # a fifth chose the bandwidth
    with torch.no_grad():
        scores = target.suspicion(unseen.images)
        fresh = target.suspicion(examples(400, first=5000).images)
    assert int((scores > target.threshold).sum()) == 15
    assert float((fresh > target.threshold).float().mean()) == pytest.approx(0.1, abs=0.06)


def test_it_reads_the_layer_that_a_real_model_names() -> None:
    torch.manual_seed(0)
    vgg = VggSmall(width=2, units=32).build(Mnist()).eval().requires_grad_(False)
    x = Draws(0, "images", torch.arange(60)).uniform(1, 28, 28)
    defended = KdePrior(steps=5).wrap(vgg, Examples(x, torch.arange(60) % 10, torch.arange(60)))
    assert isinstance(defended, Posterior)
    assert defended.layer == "relu6"
    assert defended(x[:3]).exp().sum(1).tolist() == pytest.approx([1, 1, 1], abs=1e-4)
