"""What units a network gives its logits in is no defense."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from advbench import evaluate
from advbench.data import Examples
from advbench.target.target import Target, scale_of
from advbench.testing.stage import StageNet, images, target_of

SHAPE = (1, 8, 8)


class Times(nn.Module):
    def __init__(self, net: nn.Module, factor: float) -> None:
        super().__init__()
        self.net, self.factor = net, factor

    def forward(self, x: Tensor) -> Tensor:
        answer: Tensor = self.net(x) * self.factor
        return answer


def share_fooled(factor: float, attack: str, threat: str) -> float:
    """The share of images, all of them right at first."""
    net = StageNet(SHAPE, 10)
    x = images(24, SHAPE)
    with torch.no_grad():
        labels = net(x).argmax(1)
    (row,) = evaluate(Times(net, factor), x, labels, threats=[threat], attacks=[attack]).rates
    share: float = 1 - row["accuracy"]
    return share


@pytest.mark.parametrize(
    "factor",
    [1e-12, pytest.param(1e-6, marks=pytest.mark.exhaustive), pytest.param(1e6, marks=pytest.mark.exhaustive), 1e12],
)
@pytest.mark.parametrize(
    ("attack", "threat"),
    [
        ("fgsm", "linf(eps=0.1)"),
        ("pgd(steps=5)", "linf(eps=0.1)"),
        ("apgd(steps=5)", "l2(eps=1)"),
        ("grid", "rotate-shift"),
        ("boundary(queries=200)", "l2(eps=1)"),
    ],
)
def test_scaled_logits_are_fooled_as_often(attack: str, threat: str, factor: float) -> None:
    plain = share_fooled(1.0, attack, threat)
    assert plain > 0.2
    assert share_fooled(factor, attack, threat) == pytest.approx(plain, abs=0.09)  # two images: powers of ten round


@pytest.mark.parametrize("factor", [1.0, 0.25, 4.0])
def test_usual_logits_are_left_as_they_are(factor: float) -> None:
    assert scale_of(stage(factor), examples(), torch.device("cpu")) == 1


def test_a_scale_is_a_power_of_two_and_brings_logits_to_a_usual_size() -> None:
    scale = scale_of(stage(3e-8), examples(), torch.device("cpu"))
    assert scale > 1
    assert torch.tensor(scale).log2().frac() == 0
    logits = stage(3e-8).logits(examples().images) * scale
    assert 8 < float((logits.amax(1) - logits.amin(1)).median()) < 32


@pytest.mark.parametrize("factor", [0.0, float("nan"), float("inf")])
def test_logits_that_say_nothing_have_no_scale(factor: float) -> None:
    assert scale_of(stage(factor), examples(), torch.device("cpu")) == 1


def stage(factor: float) -> Target:
    return target_of(Times(StageNet(SHAPE, 10), factor), SHAPE, 10)


def examples() -> Examples:
    return Examples(images(16, SHAPE), torch.zeros(16, dtype=torch.int64), torch.arange(16))
