"""How a run is cut up must not show in its numbers: bit by bit at one padded batch size, in verdicts at any."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from advbench import Attack, Draws, Problem
from advbench.problem.batches import BatchSize
from advbench.problem.problem import Stop
from advbench.target.referee import Verdict, judge, render
from advbench.target.steadiness import batch_size
from advbench.testing.scene import Scene, scene
from advbench.testing.stage import images
from advbench.threats import L2, Linf, RotateShift, Threat, Wasserstein
from advbench_attacks.fgsm import FGSM
from advbench_attacks.noise import Noise
from advbench_attacks.pgd import PGD

COUNT = 37
BALLS: list[Threat] = [Linf(0.06), L2(0.5), RotateShift(degrees=15, pixels=1.5), Wasserstein(0.3, kernel=5)]
ATTACKS: list[Attack] = [PGD(steps=10), FGSM(), Noise()]


class Net(nn.Module):
    """Batch norm, pooling and a linear layer: where neighbours and padding could show."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(3)
            self.body = nn.Sequential(
                nn.Conv2d(1, 8, 3, padding=1),
                nn.BatchNorm2d(8),
                nn.ReLU(),
                nn.MaxPool2d(2),
                nn.Conv2d(8, 16, 3, padding=1),
                nn.BatchNorm2d(16),
                nn.ReLU(),
                nn.MaxPool2d(2),
                nn.Flatten(),
                nn.Linear(144, 10, bias=False),
            )
            self.train()
            with torch.no_grad():
                for _ in range(20):
                    self.body(images(64, (1, 12, 12), first=1000))
            self.eval()

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = 10 * self.body(x)
        return logits


@pytest.fixture(scope="module", params=BALLS, ids=lambda threat: threat.name)
def stage(request: pytest.FixtureRequest) -> Scene:
    return scene(request.param, shape=(1, 12, 12), net=Net(), x=images(COUNT, (1, 12, 12)))


def crafted(attack: Attack, stage: Scene, stop: Stop, batch: int | None = 16, seed: int = 0) -> tuple[Tensor, Tensor]:
    """What is judged, and the passes that each example took; without a batch size, at those found steady."""
    problem = Problem(
        images=stage.images,
        goal=stage.goal,
        threat=stage.threat,
        target=stage.target,
        access=attack.needs,
        draws=Draws(seed, attack.name, stage.ids),
        stop=stop,
        batch=BatchSize(batch) if batch else batch_size(stage.target, stage.images.device),
    )
    p = problem.finish(attack.perturb(problem))
    return p, problem.forwards


def judged(stage: Scene, p: Tensor) -> list[Verdict]:
    return judge(stage.target, render(stage.threat, stage.images, p), stage.goal)


@pytest.mark.parametrize("stop", ["first", pytest.param("end", marks=pytest.mark.slow)])
@pytest.mark.parametrize("attack", ATTACKS, ids=str)
def test_two_shards_or_one_give_the_same_bits(attack: Attack, stage: Scene, stop: Stop) -> None:
    whole, passes = crafted(attack, stage, stop)
    outcomes = judged(stage, whole)
    for cut in (1, 16, 23):
        halves = [stage[:cut], stage[cut:]]
        parts = [crafted(attack, half, stop) for half in halves]
        assert torch.equal(torch.cat([p for p, _ in parts]), whole)
        assert torch.equal(torch.cat([forwards for _, forwards in parts]), passes)
        apart = [verdict for half, (p, _) in zip(halves, parts, strict=True) for verdict in judged(half, p)]
        assert apart == outcomes


@pytest.mark.parametrize("attack", ATTACKS, ids=str)
def test_padded_sizes_that_were_found_steady_give_the_same_bits(attack: Attack, stage: Scene) -> None:
    whole, _ = crafted(attack, stage, "first", batch=None)
    for cut in (1, 16, 23):
        parts = [crafted(attack, half, "first", batch=None)[0] for half in (stage[:cut], stage[cut:])]
        assert torch.equal(torch.cat(parts), whole)
    assert torch.equal(crafted(attack, stage, "first", batch=64)[0], whole)
    assert {size for size, _ in stage.target.steady} <= {16, 32, 48}


def test_a_network_whose_numbers_change_with_the_batch_keeps_one_size() -> None:
    class Fickle(Net):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) + 1e-6 * len(x)

    stage = scene(Linf(0.06), shape=(1, 12, 12), net=Fickle(), x=images(4, (1, 12, 12)))
    assert batch_size(stage.target, torch.device("cpu")).padded(3) == 64
    assert stage.target.steady == {(16, "float32"): False}


@pytest.mark.parametrize(("rows", "size"), [(1, 16), (16, 16), (17, 32), (40, 48), (130, 128), (200, 192), (999, 256)])
def test_padding_is_not_paid_for_where_two_passes_are_cheaper(rows: int, size: int) -> None:
    assert BatchSize(64, lambda wanted: True).padded(rows) == size
    assert BatchSize(64).padded(rows) == 64


def test_photos_are_asked_about_in_small_passes_that_a_memory_holds() -> None:
    for shape, rows in (((3, 96, 96), 64), ((3, 224, 224), 16)):
        assert BatchSize.auto(torch.device("cpu"), shape, lambda wanted: True).padded(100) == (96 if rows == 64 else 16)
        assert BatchSize.auto(torch.device("cpu"), shape).size == rows
        assert BatchSize.auto(torch.device("cuda"), shape).size == 512


@pytest.mark.parametrize("stop", ["first", pytest.param("end", marks=pytest.mark.slow)])
@pytest.mark.parametrize("attack", ATTACKS, ids=str)
def test_another_order_gives_the_same_bits(attack: Attack, stage: Scene, stop: Stop) -> None:
    whole, _ = crafted(attack, stage, stop)
    order = torch.randperm(COUNT, generator=torch.Generator().manual_seed(0))
    shuffled, _ = crafted(attack, stage[order], stop)
    assert torch.equal(shuffled, whole[order])
    outcomes = judged(stage, whole)
    assert judged(stage[order], shuffled) == [outcomes[k] for k in order.tolist()]


@pytest.mark.parametrize("attack", ATTACKS, ids=str)
def test_any_batch_size_gives_the_same_verdicts(attack: Attack, stage: Scene) -> None:
    outcomes = [judged(stage, crafted(attack, stage, "end", batch)[0]) for batch in (1, 7, 64)]
    for other in outcomes[1:]:
        assert [verdict.fooled for verdict in other] == [verdict.fooled for verdict in outcomes[0]]
        assert [verdict.predicted for verdict in other] == [verdict.predicted for verdict in outcomes[0]]


def test_the_stage_is_neither_trivial_nor_hopeless(stage: Scene) -> None:
    fooled = [verdict.fooled for verdict in judged(stage, crafted(PGD(steps=10), stage, "end")[0])]
    assert sum(fooled) > 5
    assert len(set(stage.labels.tolist())) > 3
