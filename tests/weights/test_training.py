"""Training: the same recipe gives the same weights, and a failed training ends in words."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from advbench.data import Data, DataFolders, Examples
from advbench.draws import Draws
from advbench.errors import AdvbenchError
from advbench.plugin import Dataset, Defense, Model
from advbench.recipe import Recipe
from advbench.target.identity import TargetPlan
from advbench.weights import checkpoint, training
from advbench.weights.descent import random_shift
from advbench.weights.training import effective_recipe, estimate, rounded, train


@dataclass(frozen=True)
class Halves(Dataset):
    """The bright half of a small image is its class."""

    name = "halves"
    shape = (1, 8, 8)
    class_names = ("left", "right")

    def load(self, folders: DataFolders) -> Data:
        generator = torch.Generator().manual_seed(0)

        def part(first: int, count: int) -> Examples:
            labels = torch.arange(count) % 2
            images = torch.rand(count, 1, 8, 8, generator=generator) * 0.5
            images[labels == 0, :, :, :4] += 0.5
            images[labels == 1, :, :, 4:] += 0.5
            return Examples(images, labels, torch.arange(first, first + count))

        return Data(part(0, 129), part(129, 40), part(169, 40))

    def find(self, folders: DataFolders) -> str | None:
        return "here"


QUICK = Recipe(epochs=3, batch=32, learning_rate=0.02, floor=0.9)


@dataclass(frozen=True)
class Tiny(Model):
    """Batch norm and dropout, so that modes and random states matter."""

    name = "tiny"
    settings: Recipe = QUICK

    def build(self, dataset: Dataset) -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.BatchNorm1d(64), nn.Dropout(0.2), nn.Linear(64, dataset.classes))

    def recipe(self, dataset: Dataset) -> Recipe:
        return self.settings


@dataclass(frozen=True)
class Watcher(Defense):
    """Notes what it was given."""

    name = "watcher"
    trains = True

    def training_recipe(self, recipe: Recipe) -> Recipe:
        return replace(recipe, epochs=recipe.epochs + 1)

    def training_batch(
        self, net: nn.Module, images: Tensor, labels: Tensor, draws: Draws, progress: float
    ) -> tuple[Tensor, Tensor]:
        seen.append((net.training, progress, draws.ids.tolist()))
        return images, labels


seen: list[tuple[bool, float, list[int]]] = []


@pytest.fixture(autouse=True)
def _forget() -> None:
    seen.clear()


DATASET = Halves()
DATA = DATASET.load(DataFolders())


def test_the_same_recipe_gives_the_same_weights_whatever_was_drawn_before() -> None:
    first = train(TargetPlan(DATASET, Tiny()), DATA)
    torch.rand(7)
    state = torch.get_rng_state()
    second = train(TargetPlan(DATASET, Tiny()), DATA)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(first.state[key], second.state[key]) for key in first.state)
    assert first.accuracy == second.accuracy >= 0.9


def test_another_seed_gives_other_weights() -> None:
    first = train(TargetPlan(DATASET, Tiny()), DATA)
    second = train(TargetPlan(DATASET, Tiny(Recipe(epochs=3, batch=32, learning_rate=0.02, seed=1))), DATA)
    assert not torch.equal(first.state["3.weight"], second.state["3.weight"])


@pytest.mark.parametrize("schedule", ["constant", "cosine", "one-cycle"])
@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_every_optimizer_and_schedule_learns(optimizer: str, schedule: str) -> None:
    recipe = Recipe(epochs=4, batch=32, learning_rate=0.02, optimizer=optimizer, schedule=schedule, floor=0.9)  # type: ignore[arg-type]
    assert train(TargetPlan(DATASET, Tiny(recipe)), DATA).accuracy >= 0.9


def test_the_weights_are_those_that_float16_can_hold() -> None:
    state = train(TargetPlan(DATASET, Tiny()), DATA).state
    assert torch.equal(state["3.weight"], state["3.weight"].half().float())


def test_what_float16_can_not_hold_is_left_alone() -> None:
    large, small = torch.tensor([1e6, 1.0]), torch.tensor([1e-7, 1e-8])
    assert torch.equal(rounded(large), large)
    assert torch.equal(rounded(small), small)
    assert torch.equal(rounded(torch.tensor(3)), torch.tensor(3))


def test_a_defense_sees_every_image_once_an_epoch_and_the_network_as_attackers_will() -> None:
    train(TargetPlan(DATASET, Tiny(), (Watcher(),)), DATA)
    assert effective_recipe(TargetPlan(DATASET, Tiny(), (Watcher(),))) == replace(Tiny().settings, epochs=4)
    assert not any(training for training, _, _ in seen)
    assert [progress for _, progress, _ in seen] == sorted(progress for _, progress, _ in seen)
    an_epoch = [example for _, _, ids in seen[: len(seen) // 4] for example in ids]
    assert sorted(an_epoch) == list(range(129))
    assert min(len(ids) for _, _, ids in seen) > 1


def test_progress_ends_at_one() -> None:
    told: list[tuple[float, str]] = []
    train(TargetPlan(DATASET, Tiny()), DATA, progress=lambda fraction, text: told.append((fraction, text)))
    assert told[-1][0] == 1
    assert "epoch 3 of 3" in told[-1][1]


def test_accuracy_below_the_floor_is_an_error_that_names_both() -> None:
    model = Tiny(Recipe(epochs=1, batch=128, learning_rate=1e-9, floor=0.99))
    with pytest.raises(AdvbenchError, match=r"tiny.*below the 99\.0%.*or bring weights: tiny\(weights=FILE\)"):
        train(TargetPlan(DATASET, model), DATA)


def test_what_a_network_reached_by_itself_is_not_expected_behind_what_changes_its_training() -> None:
    model = Tiny(Recipe(expected=0.9))
    alone, behind = (
        effective_recipe(TargetPlan(DATASET, model)),
        effective_recipe(TargetPlan(DATASET, model, (Watcher(),))),
    )
    assert alone
    assert behind
    assert (alone.expected, behind.expected) == (0.9, 0.0)


def test_a_loss_that_is_no_number_ends_the_training_early() -> None:
    told: list[float] = []
    model = Tiny(Recipe(epochs=50, batch=32, learning_rate=1e38, optimizer="sgd"))
    with pytest.raises(AdvbenchError, match="no longer a number"):
        train(TargetPlan(DATASET, model), DATA, progress=lambda fraction, text: told.append(fraction))
    assert told[-1] < 0.5


def test_no_images_to_train_on_is_an_error() -> None:
    with pytest.raises(AdvbenchError, match="no training part"):
        train(TargetPlan(DATASET, Tiny()), replace(DATA, train=DATA.train[:0]))


def test_shifts_move_whole_images_by_whole_pixels() -> None:
    images = torch.zeros(200, 1, 7, 7)
    images[:, :, 3, 3] = 1
    moved = random_shift(images, 2, Draws(0, "test", torch.arange(200)))
    assert moved.shape == images.shape
    assert torch.equal(moved.sum((1, 2, 3)), torch.ones(200))
    assert len(moved.flatten(1).argmax(1).unique()) == 25


class CutError(Exception):
    """What ends a training in these tests."""


def cut_in(epoch: int) -> Callable[[float, str], None]:
    def progress(fraction: float, text: str) -> None:
        if text.startswith(f"epoch {epoch} ") and fraction > 0.7:
            raise CutError

    return progress


def test_a_training_that_was_cut_off_ends_at_the_same_bits(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(checkpoint, "EVERY", 0.0)
    dataset, settings = Halves(), replace(QUICK, epochs=4, shift=1, flip=True, schedule="exponential", floor=0.0)
    data = dataset.load(DataFolders())
    whole = train(TargetPlan(dataset, Tiny(settings)), data).state
    kept = tmp_path / "kept"
    with pytest.raises(CutError):
        train(TargetPlan(dataset, Tiny(settings)), data, progress=cut_in(2), checkpoint=kept)
    said: list[str] = []
    again = train(
        TargetPlan(dataset, Tiny(settings)), data, progress=lambda _, text: said.append(text), checkpoint=kept
    )
    assert said[0] == "goes on after epoch 2"
    assert all(torch.equal(whole[key], value) for key, value in again.state.items())


@pytest.mark.parametrize("content", [b"", b"PK nonsense", b"\x80\x02cos\nsystem\n"])
def test_a_checkpoint_that_is_damaged_is_no_obstacle(tmp_path: Path, content: bytes) -> None:
    kept = tmp_path / "kept"
    kept.write_bytes(content)
    dataset = Halves()
    data = dataset.load(DataFolders())
    whole, again = (train(TargetPlan(dataset, Tiny()), data, checkpoint=each).state for each in (None, kept))
    assert all(torch.equal(whole[key], value) for key, value in again.items())


def test_flips_mirror_every_other_image() -> None:
    dataset = Halves()
    data = dataset.load(DataFolders())
    seen.clear()
    plain = train(TargetPlan(dataset, Tiny(replace(QUICK, epochs=30))), data)
    with pytest.raises(AdvbenchError, match="right after training"):  # left and right can't be told apart any more
        train(TargetPlan(dataset, Tiny(replace(QUICK, epochs=30, flip=True))), data)
    assert plain.accuracy == 1


def test_an_estimate_changes_nothing_of_what_training_gives() -> None:
    settings = replace(QUICK, shift=1, flip=True, floor=0.0)
    before = train(TargetPlan(DATASET, Tiny(settings), (Watcher(),)), DATA).state
    random = torch.get_rng_state()
    assert estimate(TargetPlan(DATASET, Tiny(settings), (Watcher(),)), DATA, settings) > 0
    assert torch.equal(torch.get_rng_state(), random)
    after = train(TargetPlan(DATASET, Tiny(settings), (Watcher(),)), DATA).state
    assert all(torch.equal(before[key], value) for key, value in after.items())


def test_an_estimate_is_the_time_of_a_step_times_the_steps_that_are_left(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(checkpoint, "EVERY", 0.0)
    kept, dataset = tmp_path / "kept", Halves()
    data = dataset.load(DataFolders())

    def estimated() -> float:
        """With steps that take 50 ms, but for the first, which takes a second."""
        readings = itertools.chain([0.0, 1.0], itertools.count(10, 0.05))
        with monkeypatch.context() as patch:
            patch.setattr(training.time, "perf_counter", lambda: next(readings))
            return estimate(TargetPlan(dataset, Tiny()), data, QUICK, checkpoint=kept)

    assert estimated() == pytest.approx(3 * 5 * 0.05)
    with pytest.raises(CutError):
        train(TargetPlan(dataset, Tiny()), data, progress=cut_in(2), checkpoint=kept)
    assert estimated() == pytest.approx(1 * 5 * 0.05)
