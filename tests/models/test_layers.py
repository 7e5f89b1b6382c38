"""Activations of any layer by its name, and the one layer that a model names for those who ask for features."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from advbench.errors import AdvbenchError
from advbench.layers import activations, feature_layer, recorded
from advbench.plugins.compatibility import why_no_target
from advbench_datasets.mnist import Mnist
from advbench_datasets.mnist_5k import Mnist5k
from advbench_defenses.kde_prior import KdePrior
from advbench_models.small_cnn import SmallCNN
from advbench_models.torchvision import Torchvision
from advbench_models.vgg import VggSmall


def net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.ReLU(inplace=True), nn.Linear(8, 3))


def hooks(net: nn.Module) -> int:
    return sum(len(module._forward_hooks) for module in net.modules())


def test_activations_are_what_the_layers_answer_even_where_the_next_one_writes_into_them() -> None:
    layers, x = net(), torch.randn(5, 1, 4, 4)
    seen = activations(layers, x, ["1", "2"])
    before = layers[1](x.flatten(1))
    assert (before < 0).any()
    assert torch.equal(seen["1"], before)
    assert torch.equal(seen["2"], before.relu())


def test_one_pass_gives_logits_and_activations_with_their_gradients() -> None:
    layers, x = net(), torch.randn(5, 1, 4, 4, requires_grad=True)
    with recorded(layers, ["1"]) as seen:
        logits = layers(x)
    assert logits.shape == (5, 3)
    (gradient,) = torch.autograd.grad(seen["1"].sum(), x)
    assert torch.allclose(gradient, layers[1].weight.sum(0).view(1, 4, 4).expand(5, 1, 4, 4))


def test_a_wrong_name_is_refused_with_the_right_ones() -> None:
    vgg = VggSmall().build(Mnist())
    with pytest.raises(
        AdvbenchError, match=r"no layer 'conv3-1'; did you mean 'conv3_1'\?; the network has .*fc6, relu6"
    ):
        activations(vgg, torch.rand(1, 1, 28, 28), ["conv3-1"])
    assert hooks(vgg) == 0


def test_hooks_are_gone_also_when_the_network_fails() -> None:
    layers = net()
    with pytest.raises(RuntimeError):
        activations(layers, torch.rand(2, 1, 3, 3), ["1"])
    activations(layers, torch.rand(2, 1, 4, 4), ["1"])
    assert hooks(layers) == 0


def test_a_layer_that_takes_no_part_is_named() -> None:
    class Idle(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used, self.idle = nn.Flatten(), nn.ReLU()

        def forward(self, x: Tensor) -> Tensor:
            answer: Tensor = self.used(x)
            return answer

    with pytest.raises(AdvbenchError, match="'idle' takes no part"):
        activations(Idle(), torch.rand(1, 1, 2, 2), ["idle"])


def test_the_feature_layer_is_found_inside_what_defenses_put_around_a_network() -> None:
    vgg = VggSmall(width=2, units=6).build(Mnist())
    assert feature_layer(vgg) == "relu6"
    wrapped = nn.Sequential(nn.Identity(), vgg)
    assert feature_layer(wrapped) == "1.relu6"
    assert activations(wrapped, torch.rand(2, 1, 28, 28), ["1.relu6"])["1.relu6"].shape == (2, 6)


def test_a_network_without_one_is_told_how_to_name_it() -> None:
    with pytest.raises(AdvbenchError, match=r"`feature_layer`, one of 0, 1, 2, 3$"):
        feature_layer(net())


def test_a_defense_that_reads_features_is_planned_only_where_a_model_names_them() -> None:
    data = Mnist5k()
    reason = why_no_target(SmallCNN(), (KdePrior(),), data)
    assert reason == "kde-prior needs a feature layer, which small-cnn does not name: take a model that does"
    assert why_no_target(VggSmall(), (KdePrior(),), data) is None
    assert why_no_target(Torchvision(), (KdePrior(),), data) is not None
    assert why_no_target(Torchvision(architecture="vgg19"), (KdePrior(),), data) is None


def test_torchvisions_vgg19_has_the_papers_layers() -> None:
    """Hitting Depth looks at conv1_2, conv3_1, conv5_1 and at the first layer of 4,096 units."""
    model = Torchvision(architecture="vgg19")
    with torch.device("meta"):
        vgg = model.build(Mnist())
    layers = dict(vgg.named_modules())
    convolutions = [name for name, layer in layers.items() if isinstance(layer, nn.Conv2d)]
    place = {"conv1_2": 1, "conv3_1": 4, "conv5_1": 12}
    names = {paper: convolutions[at] for paper, at in place.items()}
    assert names == {"conv1_2": "net.features.2", "conv3_1": "net.features.10", "conv5_1": "net.features.28"}
    assert feature_layer(vgg) == model.feature_layer == "net.classifier.1"
    assert isinstance(layers["net.classifier.1"], nn.ReLU)
    first = layers["net.classifier.0"]
    assert isinstance(first, nn.Linear)
    assert first.out_features == 4096
