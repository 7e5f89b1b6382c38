"""Capsule layers against slow references that follow the papers line by line, and the networks made of them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn

from advbench.data import Data, DataFolders
from advbench.plugin import Dataset, Model
from advbench_datasets.cifar10 import Cifar10
from advbench_datasets.mnist import FashionMnist, Mnist
from advbench_datasets.svhn import Svhn
from advbench_models.capsnet import CapsNet
from advbench_models.common.capsule_network import CapsuleNetwork
from advbench_models.common.capsules import (
    ClassCapsules,
    PrimaryCapsules,
    lengths,
    logits_of,
    margin_loss,
    masked,
    squash,
)
from advbench_models.common.em_routing import LEAST_SHARE, LEAST_VARIANCE, Windows, em_routing, votes_of
from advbench_models.convnet import ConvNet
from advbench_models.dcnet import DCNet
from advbench_models.em_capsnet import EmCapsNet, spread_loss

MODELS: list[Model] = [ConvNet(), CapsNet(types=4), DCNet(growth=4, layers=2, types=2), EmCapsNet(channels=8, types=2)]
DATASETS: list[Dataset] = [Mnist(), FashionMnist(), Svhn(), Cifar10()]
SMALL: list[Model] = [ConvNet(width=4), *MODELS[1:]]


@dataclass(frozen=True)
class Images(Dataset):
    """Nameless images of a shape."""

    name = "images"
    class_names = ("one", "two", "three")

    height: int = 28
    width: int = 28
    channels: int = 1

    @property
    def shape(self) -> tuple[int, int, int]:  # type: ignore[override]
        return (self.channels, self.height, self.width)

    def load(self, folders: DataFolders) -> Data:
        raise NotImplementedError

    def find(self, folders: DataFolders) -> str | None:
        return None


def routed_by_hand(u: Tensor, weight: Tensor, routings: int, classes: int) -> Tensor:
    """Procedure 1 of Sabour et al., an image and a capsule at a time; weight (J, d·I, D)."""
    answers = []
    for image in u:
        count, dimension = image.shape
        ends = len(weight)
        vote = {
            (i, j): sum(
                (image[i, c] * weight[j, c * count + i] for c in range(dimension)),
                torch.zeros(weight.shape[2], dtype=u.dtype),
            )
            for i in range(count)
            for j in range(ends)
        }
        b = torch.zeros(count, ends, dtype=u.dtype)
        for _ in range(routings):
            c = b.softmax(1)
            v = []
            for j in range(ends):
                s = sum((c[i, j] * vote[i, j] for i in range(count)), torch.zeros(weight.shape[2], dtype=u.dtype))
                v.append(s.norm() ** 2 / (1 + s.norm() ** 2) * s / s.norm())
            b = torch.tensor([[b[i, j] + vote[i, j] @ v[j] for j in range(ends)] for i in range(count)])
        answers.append(torch.stack(v[:classes]))
    return torch.stack(answers)


@pytest.mark.parametrize("routings", [1, 2, 3])
@pytest.mark.parametrize("none_of_the_above", [False, True])
def test_routing_is_the_papers(routings: int, none_of_the_above: bool) -> None:
    torch.manual_seed(0)
    layer = ClassCapsules(5, 3, 4, 6, routings, none_of_the_above).double()
    with torch.no_grad():
        layer.weight.mul_(10)  # or rounds of routing would hardly differ
        u = squash(torch.randn(2, 5, 3, dtype=torch.float64))
        expected = routed_by_hand(u, layer.weight, routings, 4)
        assert torch.allclose(layer(u), expected, rtol=1e-8, atol=1e-10)


def test_routing_in_parts_is_routing_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    layer = ClassCapsules(20, 4, 3, 5).double()
    u = torch.randn(7, 20, 4, dtype=torch.float64)
    whole = layer(u)
    monkeypatch.setattr("advbench_models.common.capsules.CACHED", 2 * 3 * 20 * 4)
    assert torch.allclose(layer(u), whole)


def test_none_of_the_above_draws_capsules_away_and_is_no_answer() -> None:
    torch.manual_seed(0)
    layer = ClassCapsules(6, 4, 3, 5, none_of_the_above=True).double()
    u = squash(torch.randn(2, 6, 4, dtype=torch.float64))
    before = layer(u)
    assert before.shape == (2, 3, 5)
    with torch.no_grad():
        layer.weight[3] *= 50
    assert (lengths(layer(u)) < lengths(before)).all()


def test_gradients_through_routing_are_exact() -> None:
    torch.manual_seed(0)
    layer = ClassCapsules(4, 2, 3, 3, none_of_the_above=True).double()
    u = torch.randn(2, 4, 2, dtype=torch.float64, requires_grad=True)

    def logits(u: Tensor, weight: Tensor) -> Tensor:
        answer = torch.func.functional_call(layer, {"weight": weight}, u)
        assert isinstance(answer, Tensor)
        return logits_of(lengths(answer))

    assert torch.autograd.gradcheck(logits, (u, layer.weight))


def test_primary_capsules_come_in_the_order_that_they_say() -> None:
    torch.manual_seed(0)
    layer = PrimaryCapsules(2, capsules=3, dimension=4, kernel=3, stride=2)
    maps = torch.rand(2, 2, 9, 7)
    found = layer(maps)
    assert found.shape == (2, 3 * 4 * 3, 4)
    channels = layer.convolution(maps)
    k, y, x = 1, 2, 1
    expected = squash(channels[:, k::3, y, x])
    assert torch.allclose(found[:, (k * 4 + y) * 3 + x], expected, atol=1e-6)


def test_squash_keeps_directions_and_shortens_to_below_one() -> None:
    x = torch.tensor([[3.0, 4.0], [0.3, 0.4], [3e4, 4e4]])
    size = squash(x).norm(dim=1)
    assert torch.allclose(size, torch.tensor([25 / 26, 0.25 / 1.25, 1.0]))
    assert torch.allclose(squash(x) / size[:, None], torch.tensor([0.6, 0.8]).expand(3, 2))


@pytest.mark.parametrize("scale", [0.0, 1e-20, 1e-6, 1.0, 1e4, 1e8])
def test_a_gradient_remains_however_short_or_long_a_capsule(scale: float) -> None:
    x = (scale * torch.tensor([[[0.6, 0.8], [0.8, -0.6]]])).requires_grad_()
    logits = logits_of(lengths(squash(x)))
    (gradient,) = torch.autograd.grad(logits[0, 0], x)
    assert logits.isfinite().all()
    assert gradient.isfinite().all()
    assert gradient[0, 0].any()


def test_logits_are_arctanh_and_finite_with_gradients_where_lengths_saturate() -> None:
    inside = torch.linspace(0.01, 0.99, 9, dtype=torch.float64)
    assert torch.allclose(logits_of(inside), torch.arctanh(2 * inside - 1))
    ends = torch.tensor([0.0, 1.0, 1 + 1e-6], requires_grad=True)
    logits = logits_of(ends)
    (gradient,) = torch.autograd.grad(logits.sum(), ends)
    assert logits.isfinite().all()
    assert logits[0] < -10
    assert logits[1] > 7
    assert (gradient > 0).all()
    assert gradient.isfinite().all()


def test_margin_loss_is_the_papers() -> None:
    found = torch.tensor([[0.95, 0.05, 0.3], [0.5, 0.2, 0.0]])
    expected = (0.5 * 0.2**2 + (0.9 - 0.2) ** 2 + 0.5 * 0.4**2) / 2
    assert margin_loss(found, torch.tensor([0, 1])).item() == pytest.approx(expected)


def test_a_mask_keeps_one_class() -> None:
    capsules = torch.rand(2, 3, 4)
    kept = masked(capsules, torch.tensor([2, 0])).view(2, 3, 4)
    assert torch.equal(kept[0, 2], capsules[0, 2])
    assert torch.equal(kept[1, 0], capsules[1, 0])
    assert kept[0, :2].eq(0).all()
    assert kept[1, 1:].eq(0).all()


def em_by_hand(
    votes: Tensor, a: Tensor, windows: list[list[int]], costs: tuple[Tensor, Tensor], iterations: int
) -> tuple[Tensor, Tensor]:
    """Procedure 1 of Hinton et al. for one image; votes[w][j][k] of the k-th child of a window, a by child."""
    beta_u, beta_a = costs
    parents = [(w, j) for w in range(len(windows)) for j in range(votes.shape[1])]
    shares = torch.zeros(len(a), len(windows), votes.shape[1], dtype=a.dtype)
    for i in range(len(a)):
        mine = [p for p in parents if i in windows[p[0]]]
        for w, j in mine:
            shares[i, w, j] = 1 / len(mine)
    for step in range(1, iterations + 1):
        mean, variance, logit = {}, {}, {}
        for w, j in parents:
            r = torch.stack([shares[i, w, j] * a[i] for i in windows[w]])
            share = r / (r.sum() + LEAST_SHARE)
            mean[w, j] = sum(share[k] * votes[w, j, k] for k in range(len(r)))
            variance[w, j] = sum(share[k] * (votes[w, j, k] - mean[w, j]) ** 2 for k in range(len(r))) + LEAST_VARIANCE
            cost = (beta_u[j] + variance[w, j].sqrt().log()) * r.sum()
            logit[w, j] = 0.3 * (1 - 0.95**step) * (beta_a[j] - cost.sum())
        for i in range(len(a)):
            density = {}
            for w, j in parents:
                if i in windows[w]:
                    v = votes[w, j, windows[w].index(i)]
                    exponent = -((v - mean[w, j]) ** 2 / (2 * variance[w, j])).sum()
                    p = exponent.exp() / (2 * math.pi * variance[w, j]).prod().sqrt()
                    density[w, j] = logit[w, j].sigmoid() * p
            for w, j in density:
                shares[i, w, j] = density[w, j] / sum(density.values())
    shape = (len(windows), votes.shape[1])
    return (
        torch.stack([mean[p] for p in parents]).view(*shape, -1),
        torch.stack([logit[p] for p in parents]).view(shape),
    )


@pytest.mark.parametrize("iterations", [1, 2, 3])
def test_em_routing_is_the_papers_also_where_windows_overlap(iterations: int) -> None:
    torch.manual_seed(0)
    windows = Windows(5, 4, kernel=3, stride=1)  # 6 windows, 2 types of children, 3 of parents
    poses = torch.rand(2, 20, 2, 16, dtype=torch.float64)
    a = torch.rand(2, 20, 2, dtype=torch.float64)
    votes = votes_of(windows.gather(poses), torch.rand(18, 3, 4, 4, dtype=torch.float64))
    costs = torch.rand(3, dtype=torch.float64), torch.rand(3, dtype=torch.float64)
    found = em_routing(votes, windows.gather(a), *costs, windows, iterations, 0.3)
    members = [[2 * int(p) + t for p in window for t in range(2)] for window in windows.members]
    for image in range(2):
        expected = em_by_hand(votes[image], a[image].flatten(), members, costs, iterations)
        assert torch.allclose(found[0][image], expected[0], atol=1e-8)
        assert torch.allclose(found[1][image], expected[1], atol=1e-8)


def test_em_gradients_are_exact() -> None:
    torch.manual_seed(0)
    windows = Windows(4, 3, kernel=2, stride=2)  # the last column lies in no window
    votes = torch.rand(1, 2, 2, 4, 3, dtype=torch.float64, requires_grad=True)
    a = torch.rand(1, 12, 1, dtype=torch.float64, requires_grad=True)
    costs = torch.rand(2, 2, dtype=torch.float64)

    def routed(votes: Tensor, a: Tensor) -> tuple[Tensor, Tensor]:
        return em_routing(votes, windows.gather(a), costs[0], costs[1], windows, 3, 0.3)

    assert torch.autograd.gradcheck(routed, (votes, a))


def test_spread_loss_is_the_papers() -> None:
    a = torch.tensor([[0.8, 0.3, 0.0]])
    expected = (0.9 - 0.5) ** 2 + (0.9 - 0.8) ** 2
    assert spread_loss(a, torch.tensor([0]), 0.9).item() == pytest.approx(expected)


@pytest.mark.parametrize("dataset", DATASETS, ids=lambda d: d.name)
@pytest.mark.parametrize("model", MODELS, ids=lambda m: m.name)
def test_every_data_set_of_the_paper_is_served(model: Model, dataset: Dataset) -> None:
    assert model.why_not(dataset) is None
    net = model.build(dataset).eval()
    images = torch.rand(2, *dataset.shape)
    with torch.no_grad():
        assert net(images).shape == (2, 10)
        if isinstance(net, CapsuleNetwork):
            redrawn = net.reconstruct(images, torch.tensor([1, 2]))
            assert redrawn.shape == images.shape
            assert 0 <= redrawn.min() <= redrawn.max() <= 1


@pytest.mark.parametrize("size", [(3, 3), (8, 8), (15, 15), (16, 31), (17, 17), (23, 19), (33, 28)])
@pytest.mark.parametrize("model", SMALL, ids=lambda m: m.name)
def test_an_odd_size_is_served_or_refused_with_a_remedy(model: Model, size: tuple[int, int]) -> None:
    dataset = Images(*size)
    if reason := model.why_not(dataset):
        assert "or more; take `" in reason
        assert min(size) < 17
        return
    answer = model.build(dataset).eval()(torch.rand(2, *dataset.shape))
    assert answer.shape == (2, 3)


def test_the_smallest_size_that_is_not_refused_is_the_smallest_that_can_be() -> None:
    for model in SMALL:
        served = [side for side in range(1, 33) if model.why_not(Images(side, side)) is None]
        too_small = Images(served[0] - 1, served[0] - 1)
        with pytest.raises(Exception, match=r"size|empty|positive|small|step|dimension"):
            model.build(too_small).eval()(torch.rand(2, *too_small.shape))


@pytest.mark.parametrize("model", [CapsNet(), DCNet()], ids=lambda m: m.name)
def test_images_whose_capsules_would_fill_the_memory_are_refused_with_a_remedy(model: Model) -> None:
    assert "billion weights; take `convnet`" in (model.why_not(Images(1024, 1024)) or "")
    assert model.why_not(Images(128, 128)) is None


@pytest.mark.parametrize("model", SMALL, ids=lambda m: m.name)
@pytest.mark.parametrize("weights", [1.0, 100.0])
def test_logits_and_gradients_are_finite_where_nothing_or_everything_is_seen(model: Model, weights: float) -> None:
    torch.manual_seed(0)
    net = model.build(Mnist()).eval()
    with torch.no_grad():
        for layer in net.modules():
            if isinstance(layer, nn.Conv2d):
                layer.weight.mul_(weights)
    images = torch.stack([torch.zeros(1, 28, 28), torch.ones(1, 28, 28), torch.rand(1, 28, 28)]).requires_grad_()
    logits = net(images)
    assert logits.isfinite().all()
    loss = nn.functional.cross_entropy(logits, torch.tensor([0, 1, 2]))
    gradients = torch.autograd.grad(loss, [images, *net.parameters()], allow_unused=True)
    assert all(g.isfinite().all() for g in gradients if g is not None)
    assert gradients[0] is not None
    assert gradients[0][2].any()


def test_a_capsule_network_without_biases_has_a_finite_answer_to_a_black_image() -> None:
    torch.manual_seed(0)
    net = CapsNet(types=2).build(Mnist()).eval()
    with torch.no_grad():
        for layer in net.modules():
            if isinstance(layer, nn.Conv2d):
                assert layer.bias is not None
                layer.bias.zero_()
    images = torch.zeros(1, 1, 28, 28, requires_grad=True)
    logits = net(images)
    (gradient,) = torch.autograd.grad(logits[0, 0], images)
    assert logits.isfinite().all()
    assert gradient.isfinite().all()


@pytest.mark.parametrize("model", SMALL, ids=lambda m: m.name)
def test_an_answer_does_not_depend_on_the_company(model: Model) -> None:
    torch.manual_seed(0)
    net = model.build(Mnist()).eval()
    images = torch.rand(9, 1, 28, 28)
    with torch.no_grad():
        together = net(images)
        alone = torch.cat([net(image[None]) for image in images])
    assert torch.allclose(together, alone, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("model", SMALL, ids=lambda m: m.name)
def test_a_few_steps_of_training_lower_the_loss(model: Model) -> None:
    torch.manual_seed(0)
    net = model.build(Mnist())
    images, labels = torch.rand(20, 1, 28, 28) / 4, torch.arange(20) % 10
    for image, label in zip(images, labels, strict=True):
        image[:, 2 * label : 2 * label + 9, 4:24] += 0.7
    optimizer = torch.optim.Adam(net.parameters(), 5e-3)
    losses = []
    for _ in range(16):
        optimizer.zero_grad()
        loss = model.loss(net, images, labels)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        losses.append(loss.item())
    assert sum(losses[-4:]) < 0.8 * sum(losses[:4])


def test_forms_follow_the_data_set() -> None:
    """Channels and kernels of the paper's section 4.1."""

    def convolutions(dataset: Dataset) -> list[tuple[int, int]]:
        net = CapsNet().build(dataset)
        return [(m.out_channels, m.kernel_size[0]) for m in net.modules() if isinstance(m, nn.Conv2d)]

    assert convolutions(Mnist()) == [(64, 9), (256, 9)]
    assert convolutions(FashionMnist()) == [(32, 3), (32, 3), (256, 9)]
    assert convolutions(Svhn()) == [(64, 5), (256, 5), (256, 9)]
