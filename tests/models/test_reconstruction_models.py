"""The networks of Qin et al. (2020): their sizes, what they redraw images from, the alarms of the detector on them."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from advbench.data import DataFolders
from advbench.plugin import Dataset, Model
from advbench.target.identity import TargetPlan
from advbench.target.target import prepare
from advbench.weights.weights import find_weights
from advbench_datasets.cifar10 import Cifar10
from advbench_datasets.mnist import FashionMnist, Mnist
from advbench_datasets.mnist_5k import Mnist5k
from advbench_datasets.svhn import Svhn
from advbench_defenses.reconstruction import Reconstruction
from advbench_models.capsnet_r import CapsNetAll, CapsNetR, DeepCaps, SeeingNetwork
from advbench_models.cnn_cr import CnnCr, ReconstructingNet
from advbench_models.cnn_r import CnnR

THREE: list[Model] = [CapsNetR(), CnnCr(), CnnR()]
CONDITIONAL: list[Model] = [CapsNetR(), CnnCr(), DeepCaps()]
ALL: list[Model] = [*THREE, CapsNetAll(), DeepCaps()]
DATASETS: list[Dataset] = [Mnist5k(), Mnist(), FashionMnist(), Svhn(), Cifar10()]
CLASSES = torch.tensor([3, 1, 4, 1])


def named(plugin: Model | Dataset) -> str:
    return plugin.name


def built(model: Model, dataset: Dataset) -> nn.Module:
    torch.manual_seed(0)
    return model.build(dataset).eval()


def images_of(dataset: Dataset, count: int = 4) -> Tensor:
    return torch.rand(count, *dataset.shape, generator=torch.Generator().manual_seed(1))


def seen(net: nn.Module, images: Tensor) -> Tensor:
    """(N, classes, units): what each class has to be redrawn from."""
    if isinstance(net, SeeingNetwork):
        return net.capsules(images)
    assert isinstance(net, ReconstructingNet)
    return net.groups(images)


def redrawn(net: nn.Module, units: Tensor, classes: Tensor) -> Tensor:
    assert isinstance(net, SeeingNetwork | ReconstructingNet)
    return net.redraw(units, classes)


@pytest.mark.parametrize("dataset", DATASETS, ids=named)
def test_the_three_have_the_same_number_of_parameters(dataset: Dataset) -> None:
    counts = [sum(p.numel() for p in built(model, dataset).parameters()) for model in THREE]
    assert max(counts) <= 1.02 * min(counts)


@pytest.mark.parametrize("model", ALL, ids=named)
@pytest.mark.parametrize("dataset", DATASETS, ids=named)
def test_the_reconstruction_network_is_the_papers_and_deeper_on_cifar10(model: Model, dataset: Dataset) -> None:
    net = built(model, dataset)
    assert isinstance(net.reconstruction, nn.Sequential)
    layers = [layer for layer in net.reconstruction if isinstance(layer, nn.Linear)]
    deeper = [1024] if dataset.name == "cifar10" else []
    assert [layer.out_features for layer in layers] == [512, 1024, *deeper, torch.Size(dataset.shape).numel()]
    assert isinstance(net.reconstruction[-2], nn.Sigmoid)


@pytest.mark.parametrize("model", ALL, ids=named)
@pytest.mark.parametrize("dataset", DATASETS, ids=named)
def test_logits_images_and_gradients_are_finite_on_every_data_set(model: Model, dataset: Dataset) -> None:
    assert model.why_not(dataset) is None
    net = built(model, dataset)
    extremes = torch.stack([torch.zeros(dataset.shape), torch.ones(dataset.shape)])
    images = torch.cat([images_of(dataset, 2), extremes]).requires_grad_()
    logits = net(images)
    again = redrawn(net, seen(net, images), CLASSES)
    assert logits.shape == (4, dataset.classes)
    assert again.shape == images.shape
    assert again.min() >= 0
    assert again.max() <= 1
    for answer in (logits.gather(1, CLASSES[:, None]).sum(), (again - images).square().sum()):
        (gradient,) = torch.autograd.grad(answer, images, retain_graph=True)
        assert gradient.isfinite().all()
        assert (gradient.flatten(1).abs().sum(1) > 0).all()


@pytest.mark.parametrize("model", ALL, ids=named)
def test_what_is_redrawn_depends_on_the_class_asked_for_alone_unless_nothing_is_masked(model: Model) -> None:
    dataset = Mnist()
    net = built(model, dataset)
    units = seen(net, images_of(dataset)).detach()
    own = torch.arange(dataset.classes) == CLASSES[:, None]
    others = units + torch.rand_like(units) * ~own[:, :, None]
    itself = units + torch.rand_like(units) * own[:, :, None]
    same = torch.equal(redrawn(net, others, CLASSES), redrawn(net, units, CLASSES))
    assert same == (model in CONDITIONAL)
    assert not torch.equal(redrawn(net, itself, CLASSES), redrawn(net, units, CLASSES))
    elsewhere = torch.equal(redrawn(net, units, CLASSES), redrawn(net, units, (CLASSES + 1) % 10))
    assert elsewhere == (model not in CONDITIONAL)


def test_deepcaps_sees_one_vector_wherever_it_comes_from_and_capsnet_its_place_too() -> None:
    dataset = Mnist()
    for model, alike in ((DeepCaps(), True), (CapsNetR(), False)):
        net = built(model, dataset)
        units = seen(net, images_of(dataset)).detach()
        moved = units.roll(1, dims=1)  # the same vectors, each one class further
        assert torch.equal(redrawn(net, units, CLASSES), redrawn(net, moved, CLASSES + 1)) == alike
    first = built(DeepCaps(), dataset).get_submodule("reconstruction.0")
    assert isinstance(first, nn.Linear)
    assert first.in_features == 16


def test_the_logit_is_the_sum_of_the_group_and_the_longest_capsule_wins() -> None:
    images = images_of(Mnist())
    for model in (CnnCr(), CnnR()):
        net = built(model, Mnist())
        assert torch.allclose(seen(net, images).sum(2), net(images))
    net = built(CapsNetR(), Mnist())
    assert torch.equal(seen(net, images).norm(dim=2).argsort(), net(images).argsort())


@pytest.mark.parametrize("model", ALL, ids=named)
def test_an_image_is_redrawn_alike_in_any_company(model: Model) -> None:
    net = built(model, Mnist())
    images = images_of(Mnist(), 6)
    detector = Reconstruction()
    with torch.no_grad():
        together = detector.suspicion(net, images)
        alone = torch.cat([detector.suspicion(net, image[None]) for image in images])
    assert torch.allclose(together, alone, atol=1e-4)


@pytest.mark.parametrize("model", ALL, ids=named)
def test_a_few_steps_lower_the_loss(model: Model) -> None:
    dataset = Mnist5k()
    net = built(model, dataset).train()
    images, labels = images_of(dataset, 10), torch.arange(10)
    optimizer = torch.optim.Adam(net.parameters(), 1e-3)
    losses = []
    for _ in range(8):
        loss = model.loss(net, images, labels)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.9 * losses[0]


@pytest.mark.parametrize("model", [CapsNetAll(), CapsNetR(), DeepCaps()], ids=named)
def test_small_images_are_refused_with_what_serves_them(model: Model) -> None:
    class Tiny(Mnist):
        shape = (1, 16, 16)

    assert model.why_not(Tiny()) == "its convolutions need images of 17 x 17 pixels or more; take `cnn-cr`"
    assert CnnCr().why_not(Tiny()) is None


def test_sabours_own_size_is_a_matter_of_parameters() -> None:
    net = CapsNetR(kernels=256, types=32).build(Mnist())
    assert sum(p.numel() for p in net.parameters()) == 8_215_568


@pytest.mark.parametrize(("asked", "most"), [(0.05, 0.01), (0.2, 0.04)])
def test_the_share_of_unseen_clean_digits_that_raise_an_alarm_is_the_one_asked_for(asked: float, most: float) -> None:
    model, dataset = CnnCr(), Mnist5k()
    data = dataset.load(DataFolders())
    found = find_weights(TargetPlan(dataset, model), data)
    assert found is not None, "it is shipped"
    target = prepare(
        TargetPlan(dataset, model, (Reconstruction(),)),
        data,
        found.net,
        weights_sha256=found.sha256,
        origins={},
        false_positive_rate=asked,
        device=torch.device("cpu"),
    )
    assert target.threshold is not None
    with torch.no_grad():
        suspicion = target.suspicion(data.judge.pixels("cpu"))
    assert len(suspicion) == 1000
    assert float((suspicion > target.threshold).float().mean()) == pytest.approx(asked, abs=most)
