"""`gcnn` and `roteqnet` turn with the image, filters are made no oftener than needed, and data turn as promised."""

from __future__ import annotations

import copy
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from advbench.data import DataFolders
from advbench.draws import Draws
from advbench.layers import activations
from advbench.plugin import Dataset, Model
from advbench.testing.stage import data_of
from advbench.threats import RotateShift
from advbench_datasets.mnist import Mnist
from advbench_defenses.augment import Augment
from advbench_models.common.filter_bank import FilterBank
from advbench_models.common.p4 import P4Convolution, quarter_turn
from advbench_models.equivariant import Gcnn, StdCnn
from advbench_models.roteqnet import Longest, RotEqNet, VectorBatchNorm, VectorConvolution, VectorMaxPool, turning

MAPS = "pool2"
"""The last layer before FC(50)."""


def built(model: Model, dataset: Dataset | None = None) -> nn.Module:
    torch.manual_seed(0)
    return model.build(dataset or Mnist()).eval()


def pictures(count: int, side: int = 28) -> Tensor:
    """Smooth blobs inside the inscribed circle, so that turning them loses little."""
    coarse = Draws(0, "blobs", torch.arange(count)).uniform(1, 6, 6)
    x = F.interpolate(coarse, size=(side, side), mode="bicubic", align_corners=False).clamp(0, 1)
    place = torch.linspace(-1, 1, side)
    return x * (1 - (place.square() + place[:, None].square()).sqrt()).clamp(0, 0.3) / 0.3


def turned(x: Tensor, degrees: float) -> Tensor:
    p = torch.tensor([[degrees / 180, 0.0, 0.0]]).expand(len(x), 3)
    return RotateShift(degrees=180).apply(x, p).clamp(0, 1)


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32)])
@pytest.mark.parametrize("turns", [1, 2, 3])
def test_the_maps_of_gcnn_turn_with_the_image_exactly(shape: tuple[int, int, int], turns: int) -> None:
    net = built(Gcnn(), data_of(shape)).double()
    x = torch.rand(3, *shape, dtype=torch.float64)
    maps = activations(net, x, [MAPS])[MAPS]
    of_turned = activations(net, x.rot90(turns, (2, 3)), [MAPS])[MAPS]
    assert float((quarter_turn(maps, turns) - of_turned).detach().abs().max()) < 1e-13
    assert float((maps - of_turned).detach().abs().max()) > 0.1


def test_the_logits_of_gcnn_change_since_a_linear_layer_sees_the_turn() -> None:
    net, x = built(Gcnn()), pictures(20)
    logits, of_turned = net(x).detach(), net(x.rot90(1, (2, 3))).detach()
    assert float((logits - of_turned).norm() / logits.norm()) > 0.1


def test_the_maps_of_std_cnn_do_not_turn_with_the_image() -> None:
    net, x = built(StdCnn()), pictures(3)
    maps, of_turned = (activations(net, image, [MAPS])[MAPS].detach() for image in (x, x.rot90(1, (2, 3))))
    assert float((maps.rot90(1, (2, 3)) - of_turned).norm() / maps.norm()) > 0.1


def test_each_orientation_sees_the_image_as_if_it_were_turned_back() -> None:
    """By the definition of the group's convolution, one orientation after the other."""
    torch.manual_seed(0)
    layer = P4Convolution(3, 5, 3)
    nn.init.normal_(layer.bias)
    maps = torch.randn(2, 12, 8, 8)
    answers = layer(maps).unflatten(1, (5, 4))
    for turn in range(4):
        back = quarter_turn(maps, -turn)
        upright = F.conv2d(back, layer.weight.flatten(1, 2), layer.bias).rot90(turn, (2, 3))
        assert torch.allclose(answers[:, :, turn], upright, atol=1e-5)


def test_the_layers_are_those_of_table_2() -> None:
    plain, group = built(StdCnn()), built(Gcnn())
    convolutions = [layer for layer in plain.modules() if isinstance(layer, nn.Conv2d)]
    assert [(c.in_channels, c.out_channels, c.kernel_size) for c in convolutions] == [
        (1, 10, (3, 3)),
        (10, 10, (3, 3)),
        (10, 20, (3, 3)),
        (20, 20, (3, 3)),
    ]
    weights = [tuple(layer.weight.shape) for layer in group.modules() if isinstance(layer, P4Convolution)]
    assert weights == [(10, 1, 1, 3, 3), (10, 10, 4, 3, 3), (20, 10, 4, 3, 3), (20, 20, 4, 3, 3)]
    for net in (plain, group):
        linear = [layer.out_features for layer in net.modules() if isinstance(layer, nn.Linear)]
        assert linear == [50, 10]
        assert [layer.p for layer in net.modules() if isinstance(layer, nn.Dropout)] == [0.5]


@pytest.mark.parametrize("model", [Gcnn(), RotEqNet()], ids=lambda model: model.name)
def test_frozen_filters_are_made_once_and_again_when_weights_change(model: Model) -> None:
    net = built(model).requires_grad_(False)
    layer = next(module for module in net.modules() if isinstance(module, FilterBank))
    kept = layer.filters()
    assert layer.filters() is kept
    assert torch.equal(kept, layer.turned())

    with torch.no_grad():
        layer.weight.mul_(2)
    assert torch.allclose(layer.filters(), 2 * kept)

    other = model.build(Mnist())
    net.load_state_dict(other.state_dict())
    same = next(module for module in other.modules() if isinstance(module, FilterBank))
    assert torch.equal(layer.filters(), same.turned())

    assert net.double() is net
    assert layer.filters().dtype == torch.float64

    copied = copy.deepcopy(layer)
    with torch.no_grad():
        copied.weight.zero_()
    assert not copied.filters().any()
    assert layer.filters().any()


@pytest.mark.parametrize("model", [Gcnn(), RotEqNet()], ids=lambda model: model.name)
def test_filters_that_learn_are_never_kept(model: Model) -> None:
    net = built(model)  # in evaluation mode, but with weights that may change
    layer = next(module for module in net.modules() if isinstance(module, FilterBank))
    model.loss(net, pictures(4), torch.arange(4)).backward()  # type: ignore[no-untyped-call]
    assert layer.weight.grad is not None
    assert layer.weight.grad.any()
    before = layer.filters().detach()
    layer.weight.data.add_(1)  # which no counter of versions sees
    assert not torch.equal(layer.filters(), before)


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_the_logits_of_roteqnet_do_not_change_under_quarter_turns(turns: int) -> None:
    net = built(RotEqNet()).double()
    x = torch.rand(3, 1, 28, 28, dtype=torch.float64)
    logits, of_turned = net(x).detach(), net(x.rot90(turns, (2, 3))).detach()
    assert torch.allclose(logits, of_turned, atol=1e-12)


def test_the_vectors_of_roteqnet_turn_with_the_image() -> None:
    torch.manual_seed(0)
    layers = nn.Sequential(
        VectorConvolution(1, 3, 5, 2, 8, lifts=True), VectorMaxPool(), VectorConvolution(3, 2, 5, 2, 8)
    )
    layers.double()
    x = torch.rand(2, 1, 12, 12, dtype=torch.float64)
    field, of_turned = layers(x).detach(), layers(x.rot90(1, (2, 3))).detach()
    right, up = field.rot90(1, (3, 4)).unbind(2)
    assert torch.allclose(torch.stack((-up, right), 2), of_turned, atol=1e-12)


@pytest.mark.parametrize("degrees", [22.5, 30.0, 45.0])
def test_the_lengths_in_roteqnet_turn_with_the_image_nearly_at_any_angle(degrees: float) -> None:
    """Up to what resampling costs; four angles, quarter turns alone, are worse, and not turning is far worse."""
    x = pictures(20)
    place = torch.linspace(-2, 2, 9)
    bump = torch.exp(-(place.square() + place[:, None].square()))

    def off(angles: int, degrees: float, turning_back: float) -> float:
        torch.manual_seed(0)
        layer = VectorConvolution(1, 6, 9, 4, angles, lifts=True)
        with torch.no_grad():
            # filters as smooth as the images are
            layer.weight.copy_(F.conv2d(layer.weight.squeeze(2), bump[None, None], padding=4).unsqueeze(2))
            lengths, of_turned = (layer(image).norm(dim=2) for image in (x, turned(x, degrees)))
            scale = float(lengths.amax())
            return float((turned(lengths / scale, turning_back) * scale - of_turned).norm() / lengths.norm())

    assert off(16, degrees, degrees) < 0.08
    assert off(16, degrees, degrees) < 0.85 * off(4, degrees, degrees)
    assert off(16, degrees, degrees) < 0.4 * off(16, degrees, 0)


def test_turned_filters_keep_a_disc_and_its_content() -> None:
    radians = torch.arange(8, dtype=torch.float64) * math.pi / 4
    disc = turning(9, radians).view(81, 8, 81)
    filters = torch.rand(5, 81, dtype=torch.float64)
    upright = (filters @ disc[:, 0]).view(5, 9, 9)
    assert torch.equal(
        (filters @ disc[:, 2]).view(5, 9, 9).round(decimals=12), upright.rot90(1, (1, 2)).round(decimals=12)
    )
    assert not upright[:, 0, 0].any()
    # a smooth filter loses next to nothing in between
    place = torch.arange(9, dtype=torch.float64) - 4
    bump = torch.exp(-(place.square() + (place[:, None] - 1).square()) / 4).flatten()
    sums = torch.einsum("k,kro->r", bump, disc)
    assert float((sums / sums[0] - 1).abs().max()) < 0.02


def test_pooling_keeps_the_longest_vector_and_norm_keeps_directions() -> None:
    field = torch.zeros(1, 1, 2, 4, 4)
    field[0, 0, :, 0, 1] = torch.tensor([-3.0, 4.0])
    field[0, 0, :, 1, 1] = torch.tensor([4.0, 0.0])
    assert VectorMaxPool()(field)[0, 0, :, 0, 0].tolist() == [-3.0, 4.0]
    assert Longest()(field).item() == 5.0

    norm = VectorBatchNorm(2, momentum=1.0)
    fields = torch.randn(8, 2, 2, 5, 5) * torch.tensor([1.0, 7.0]).view(2, 1, 1, 1)
    learnt = norm(fields)
    assert torch.allclose(learnt.square().sum(2).mean((0, 2, 3)), torch.ones(2), atol=1e-3)
    assert torch.allclose(F.cosine_similarity(learnt, fields, dim=2), torch.ones(8, 2, 5, 5), atol=1e-5)
    assert torch.allclose(norm.eval()(fields), learnt)


@pytest.mark.parametrize("model", [StdCnn(), Gcnn(), RotEqNet()], ids=lambda model: model.name)
@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 30, 30), (1, 28, 32)])
def test_images_that_would_not_turn_are_refused_with_a_remedy(model: Model, shape: tuple[int, int, int]) -> None:
    reason = model.why_not(data_of(shape)) or ""
    assert "squares whose side four divides" in reason
    assert f"not {shape[1]}x{shape[2]}; take `small-cnn`" in reason


class TestAugment:
    def test_images_turn_by_any_angle_each_by_its_own_and_repeatably(self) -> None:
        x = pictures(1).expand(64, -1, -1, -1).contiguous()
        net, labels = nn.Identity(), torch.zeros(64, dtype=torch.int64)
        draws = [Draws(0, "test", torch.arange(64)) for _ in range(2)]
        first, second = (Augment().training_batch(net, x, labels, draw, 0.0)[0] for draw in draws)
        assert torch.equal(first, second)
        angles = Draws(0, "test", torch.arange(64)).uniform(3, low=-1, high=1)[:, 0] * 180
        assert angles.min() < -150
        assert angles.max() > 150
        for k in (0, 17, 63):
            assert torch.allclose(first[k : k + 1], turned(x[:1], float(angles[k])), atol=1e-4)

    @pytest.mark.parametrize(("degrees", "pixels"), [(30.0, 3.0), (40.0, 4.0)])
    def test_engstroms_limits_hold(self, degrees: float, pixels: float) -> None:
        """A dot at a known place tells how far its image was moved."""
        x = torch.zeros(200, 1, 29, 29)
        x[:, :, 14, 14] = 1  # the centre: only shifts move it
        draws = Draws(0, "test", torch.arange(200))
        moved, _ = Augment(degrees=degrees, pixels=pixels).training_batch(nn.Identity(), x, torch.zeros(200), draws, 0)
        place = torch.arange(29.0) - 14
        mass = moved.sum((1, 2, 3))
        for axis in (2, 3):
            far = (moved.sum(5 - axis).squeeze(1) * place).sum(1) / mass
            assert float(far.abs().max()) <= pixels + 0.5
            assert float(far.abs().max()) > pixels - 0.5

    def test_a_crop_moves_by_whole_pixels_up_to_its_border(self) -> None:
        x = torch.zeros(200, 1, 9, 9)
        x[:, :, 4, 4] = 1
        draws = Draws(0, "test", torch.arange(200))
        moved, _ = Augment(degrees=0, crop=2).training_batch(nn.Identity(), x, torch.zeros(200), draws, 0)
        places = moved.flatten(1).argmax(1)
        assert moved.sum() == 200
        assert set(places.tolist()) == {9 * row + column for row in range(2, 7) for column in range(2, 7)}


class TestRotatedMnist:
    def files(self, folder: Path) -> DataFolders:
        images = (pictures(60) * 255).byte().squeeze(1).numpy()
        labels = np.arange(60) % 10
        np.savez(folder / "mnist.npz", x_train=images, y_train=labels, x_test=images[:20], y_test=labels[:20])
        return DataFolders((folder,), download=False)

    def test_what_is_judged_turns_and_what_trains_does_not(self, tmp_path: Path) -> None:
        folders = self.files(tmp_path)
        plain, data = Mnist().load(folders), Mnist(rotated=True).load(folders)
        assert data.train.fingerprint == plain.train.fingerprint
        for part in ("calibrate", "judge"):
            before, after = getattr(plain, part), getattr(data, part)
            assert torch.equal(before.labels, after.labels)
            assert torch.equal(before.ids, after.ids)
            assert after.images.dtype == torch.uint8
            assert not (after.images == before.images).flatten(1).all(1).any()
        again = Mnist(rotated=True).load(folders)
        assert again.judge.fingerprint == data.judge.fingerprint

    def test_every_image_turns_by_its_own_angle_whoever_is_beside_it(self, tmp_path: Path) -> None:
        folders = self.files(tmp_path)
        plain, data = Mnist().load(folders).judge, Mnist(rotated=True).load(folders).judge
        angles = Draws(0, "rotated/mnist/judge", plain.ids[7:8]).uniform(3, low=-1, high=1)[0, 0] * 180
        expected = turned(plain[7:8].pixels(), float(angles)).mul(255).round()
        assert float((data.images[7:8].float() - expected).abs().max()) <= 1

    def test_black_and_white_stays_black_and_white(self, tmp_path: Path) -> None:
        data = Mnist(rotated=True, binarized=True).load(self.files(tmp_path))
        assert set(data.judge.images.unique().tolist()) == {0, 255}

    def test_the_papers_split(self, shared_data: Path) -> None:
        data = Mnist(rotated=True).load(DataFolders((shared_data,), download=False))
        assert [len(part) for part in (data.train, data.calibrate, data.judge)] == [55_000, 5_000, 10_000]
        assert data.partial == ""
