"""The mathematics of billovits2016 on made answers."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from advbench_studies.billovits2016.depth import largest_filter
from advbench_studies.billovits2016.kinds import KINDS, confused_with, kind_of
from advbench_studies.billovits2016.one_step import between, step


def sure_of(first: int, *others: int) -> torch.Tensor:
    """Probabilities of twenty classes, in that order from the top."""
    order = [first, *others, *(k for k in range(20) if k not in (first, *others))]
    probabilities = torch.empty(20)
    probabilities[order] = torch.arange(20, 0, -1).float().softmax(0)
    return probabilities


NEAR = torch.zeros(20, 20, dtype=torch.bool)
NEAR[0, 1] = NEAR[1, 0] = True


@pytest.mark.parametrize(
    ("label", "clean", "moved", "kind"),
    [
        (0, sure_of(0), sure_of(0, 7), ""),
        (3, sure_of(0), sure_of(3), "benign"),
        (0, sure_of(0), sure_of(1), "conatural"),
        (1, sure_of(0), sure_of(1), "benign"),  # near, and right
        (0, sure_of(0, 5, 6, 7, 8), sure_of(8), "re-focused"),
        (0, sure_of(0, 5, 6, 7, 8), sure_of(9), "true adversarial"),
        (4, sure_of(0, 5, 6, 7, 8), sure_of(9), "true adversarial"),
    ],
)
def test_each_kind(label: int, clean: torch.Tensor, moved: torch.Tensor, kind: str) -> None:
    assert kind_of(torch.tensor(label), clean, moved, NEAR) == kind
    assert kind in ("", *KINDS)


def test_classes_are_near_where_each_is_among_the_nearest_of_the_other() -> None:
    angles = torch.tensor([0.0, 0.1, 0.2, 2.0, 2.1, 4.0])
    near = confused_with(torch.stack((angles.cos(), angles.sin()), 1), nearest=1)
    pairs = {(i, j) for i, j in near.nonzero().tolist()}
    assert (3, 4) in pairs
    assert all((j, i) in pairs for i, j in pairs)
    assert not {i for i, _ in pairs} & {5}  # nobody's nearest


def test_the_step_goes_uphill_within_its_radius_and_the_box() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(4, 2, bias=False))
    with torch.no_grad():
        net[1].weight.copy_(torch.tensor([[1.0, -1.0, 1.0, -1.0], [0.0, 0.0, 0.0, 0.0]]))  # type: ignore[union-attr]
    images = torch.tensor([0.5, 0.5, 0.0, 1.0]).view(1, 1, 2, 2)
    moved = step(net, images, torch.tensor([0]), 0.1)
    # against class 0: down where its weight is positive, up where it is negative, and never outside
    assert moved.flatten().tolist() == pytest.approx([0.4, 0.6, 0.0, 1.0])


def test_bins_part_the_confidences() -> None:
    confidence = torch.tensor([0.0, 0.29, 0.3, 0.95, 1.0])
    assert between(confidence, 0.0, 0.3).tolist() == [True, True, False, False, False]
    assert between(confidence, 0.9, 1.0).tolist() == [False, False, False, True, True]


def test_the_filter_that_moved_most() -> None:
    moved = torch.zeros(3, 2, 2)
    moved[1] = torch.tensor([[2.0, -4.0], [0.0, 1.0]])
    moved[2, 0, 0] = 3.0
    assert largest_filter(moved).tolist() == [[[0.5, 1.0], [0.0, 0.25]]]
