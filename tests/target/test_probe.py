"""One image asked behind every part of a target: whoever breaks it is named, and the others go on."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from advbench import AdvbenchError, Data, Dataset, Defense, Examples, Model, Recipe, evaluate
from advbench.errors import PluginError
from advbench.plugins.compatibility import why_no_target
from advbench.target.identity import TargetPlan
from advbench.target.target import Target, prepare
from advbench.target.trial import Trial
from advbench.testing.stage import StageNet, data_of, images
from advbench.weights.training import train

SHAPE = (1, 8, 8)
CPU = torch.device("cpu")


class InFront(nn.Module):
    def __init__(self, net: nn.Module, size: int) -> None:
        super().__init__()
        self.net, self.size = net, size

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.net(F.interpolate(x, size=self.size))
        return logits


@dataclass(frozen=True)
class Resize(Defense):
    name = "resize"
    trained_behind = True

    size: int = 6

    def wrap(self, net: nn.Module, calibrate: Examples) -> nn.Module:
        return InFront(net, self.size)


@dataclass(frozen=True)
class Particular(Defense):
    """Takes images of 8 x 8 pixels alone."""

    name = "particular"

    def wrap(self, net: nn.Module, calibrate: Examples) -> nn.Module:
        return nn.Sequential(nn.Unflatten(2, (2, 4)), nn.Flatten(2, 3), net)


@dataclass(frozen=True)
class Guard(Defense):
    name = "guard"
    detects = True

    def suspicion(self, net: nn.Module, images: Tensor) -> Tensor:
        return images.mean().view(1)


@dataclass(frozen=True)
class Clumsy(Defense):
    name = "clumsy"

    def wrap(self, net: nn.Module, calibrate: Examples) -> nn.Module:
        raise KeyError("no such layer")


@dataclass(frozen=True)
class Silent(Defense):
    name = "silent"

    def wrap(self, net: nn.Module, calibrate: Examples) -> nn.Module:
        return None  # type: ignore[return-value]


@dataclass(frozen=True)
class Trainer(Defense):
    name = "trainer"
    trains = True


@dataclass(frozen=True)
class Flat(Model):
    """For images of its own size and no others."""

    name = "flat"

    inputs: int = 64

    def build(self, dataset: Dataset) -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(self.inputs, dataset.classes))

    def recipe(self, dataset: Dataset) -> Recipe | None:
        return Recipe(epochs=1)


@dataclass(frozen=True)
class Photographic(Flat):
    name = "photographic"
    shape = (3, 224, 224)


@dataclass(frozen=True)
class Thousand(Flat):
    name = "thousand"
    classes = 1000


def data() -> Data:
    every = Examples(images(24, SHAPE), torch.arange(24) % 10, torch.arange(24))
    return Data(every[:8], every[8:16], every[16:], "made here")


def prepared(*defenses: Defense, model: Model | None = None, net: nn.Module | None = None) -> Target:
    model = model or Flat()
    dataset = data_of(SHAPE)
    net = net or model.build(dataset)
    return prepare(
        TargetPlan(dataset, model, defenses),
        data(),
        net,
        weights_sha256="",
        origins={},
        false_positive_rate=0.05,
        device=CPU,
    )


def test_a_defense_that_changes_the_size_is_named_with_both_sizes() -> None:
    with pytest.raises(PluginError, match=r"^resize: hands images of 1 x 6 x 6 on to a network .* built for 1 x 8 x 8"):
        prepared(Resize())
    with pytest.raises(PluginError, match=r"^resize\(size=5\): hands images of 1 x 5 x 5"):
        prepared(Particular(), Resize(5))


def test_a_network_that_copes_with_another_size_is_let_be() -> None:
    assert prepared(Resize(), net=StageNet(SHAPE)).net is not None


def test_a_model_that_cannot_answer_its_data_is_named_and_not_a_defense() -> None:
    with pytest.raises(PluginError, match=r"^flat.*: can't answer images of 1 x 8 x 8: RuntimeError"):
        prepared(Resize(8), model=Flat(49))
    with pytest.raises(PluginError, match=r"^flat: answered \(2, 7\) for 2 images of 10 classes"):
        prepared(net=StageNet(SHAPE, 7))


@pytest.mark.parametrize(
    ("defense", "words"),
    [
        (Guard(), r"guard: `suspicion` answered \(1,\) for 2 images"),
        (Clumsy(), "clumsy: `wrap` failed: KeyError: 'no such layer'"),
        (Silent(), "silent: `wrap` returned NoneType, not a torch.nn.Module"),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_what_a_defense_does_wrong_is_told_with_its_name(defense: Defense, words: str) -> None:
    with pytest.raises(PluginError, match=words):
        prepared(defense)


def test_training_behind_a_defense_that_changes_the_size_names_it() -> None:
    with pytest.raises(PluginError, match=r"^resize: hands images of 1 x 6 x 6"):
        train(TargetPlan(data_of(SHAPE), Flat(), (Resize(), Trainer())), data())


def test_the_python_door_names_it_too() -> None:
    class Inner(nn.Sequential):
        pass

    net = Inner(nn.Flatten(), nn.Linear(64, 10))
    with pytest.raises(AdvbenchError, match=r"nothing could be attacked: Inner.*resize: hands images of 1 x 6 x 6"):
        evaluate(net, images(4, SHAPE), torch.arange(4), threats="linf(eps=0.1)", attacks="noise", defenses=Resize())


def test_a_probe_costs_two_images_and_no_random_number() -> None:
    asked: list[int] = []

    class Counting(StageNet):
        def forward(self, x: Tensor) -> Tensor:
            asked.append(len(x))
            return super().forward(x) + torch.rand(len(x), 1)

    net = Counting(SHAPE).eval()
    before = torch.get_rng_state()
    trial = Trial.of(data().judge, 10, CPU)
    asked.clear()
    trial.ask("counting", net)
    trial.ask_behind(Resize(8), net, net)
    assert asked == [2]
    assert torch.equal(before, torch.get_rng_state())
    assert not net._forward_pre_hooks


def test_a_model_that_declares_a_shape_or_classes_meets_no_other_data() -> None:
    dataset = data_of(SHAPE)
    shape, classes = (why_no_target(model, (), dataset) for model in (Photographic(), Thousand()))
    assert shape == "photographic: it takes images of 3 x 224 x 224, and those of stage are 1 x 8 x 8"
    assert classes == "thousand: it knows 1,000 classes, and stage has 10"
    assert why_no_target(Thousand(), (), data_of(SHAPE, 1000)) is None
