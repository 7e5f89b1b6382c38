"""Built-in models and defenses: published weights load, wrong files are refused in words, declarations hold."""

from __future__ import annotations

from pathlib import Path
from urllib.error import URLError

import pytest
import safetensors.torch
import torch
from torchvision import models

from advbench.data import DataFolders
from advbench.draws import Draws
from advbench.errors import AdvbenchError
from advbench.plugin import Dataset, Model
from advbench.plugins.values import core_threat
from advbench.weights.training import accuracy
from advbench.weights.weights import fitted, load_weights
from advbench_datasets.cifar10 import Cifar10
from advbench_datasets.mnist import FashionMnist, Mnist
from advbench_datasets.mnist_5k import Mnist5k
from advbench_datasets.svhn import Svhn
from advbench_defenses.adversarial_training import AdversarialTraining
from advbench_defenses.reconstruction import Reconstruction
from advbench_models import advbench_models
from advbench_models.cnn_cr import CnnCr, ReconstructingNet
from advbench_models.common.normalisation import IMAGENET
from advbench_models.efficientnet_lite0 import EfficientNetLite0
from advbench_models.small_cnn import SmallCNN
from advbench_models.torchvision import Torchvision
from advbench_models.wong2019 import Wong2019

BUILT_IN = [SmallCNN(), CnnCr(), Wong2019(), Torchvision()]


@pytest.mark.parametrize("dataset", [Mnist5k(), Svhn(), Cifar10()], ids=lambda dataset: dataset.name)
@pytest.mark.parametrize("model", BUILT_IN, ids=lambda model: model.name)
def test_every_network_answers_with_a_logit_for_each_class(model: Model, dataset: Dataset) -> None:
    assert model.why_not(dataset) is None
    net = model.build(dataset).eval()
    images = torch.rand(3, *dataset.shape)
    kept = images.clone()
    logits = net(images)
    assert logits.shape == (3, dataset.classes)
    assert torch.equal(images, kept)
    assert model.loss(net, images, torch.tensor([0, 1, 2])).isfinite()


DIGITS = [Mnist(), Mnist(binarized=True), Mnist(rotated=True), Mnist(binarized=True, rotated=True), Mnist5k(), Svhn()]
EVERYTHING = [*DIGITS, FashionMnist(), FashionMnist(binarized=True), Cifar10()]


LEARNERS = [model for model in advbench_models() if not isinstance(model, EfficientNetLite0)]
"""All but what comes with the published weights of other images alone."""


@pytest.mark.parametrize("model", LEARNERS, ids=lambda model: model.name)
class TestRecipes:
    def test_no_network_learns_digits_in_the_mirror(self, model: Model) -> None:
        for dataset in (dataset for dataset in DIGITS if model.why_not(dataset) is None):
            recipe = model.recipe(dataset)
            assert recipe, dataset.label
            assert not recipe.flip, dataset.label

    def test_only_what_may_be_mirrored_is(self, model: Model) -> None:
        for dataset in (dataset for dataset in EVERYTHING if model.why_not(dataset) is None):
            silent = type("Silent", (type(dataset),), {"mirrorable": False})()
            recipe = model.recipe(silent)
            assert recipe, dataset.label
            assert not recipe.flip, dataset.label

    def test_a_variant_of_a_data_set_is_learnt_like_the_data_set(self, model: Model) -> None:
        for kind in (Mnist, FashionMnist):
            whole = model.recipe(kind())
            assert whole
            for variant in (kind(binarized=True), kind(rotated=True)):
                recipe = model.recipe(variant)
                assert recipe, variant.label
                assert recipe.content() == whole.content(), variant.label
                # trained upright and judged turned: no floor of the data set itself can be asked for
                assert (recipe.floor, recipe.expected) == (0, 0), variant.label


@pytest.mark.parametrize(
    ("name", "expected"),
    [("vanilla", 0.989), ("robust", 0.982), ("adv_training", 0.973), ("binarize", 0.989)],
)
def test_wongs_published_weights_reach_their_published_accuracy(shared_data: Path, name: str, expected: float) -> None:
    model = Wong2019(weights=str(shared_data / f"wong2019_mnist/mnist_{name}.safetensors"))
    state, _ = load_weights(Path(model.weights))
    net = fitted(model, Mnist(), state, Path(model.weights))
    judge = Mnist().load(DataFolders((shared_data,), download=False)).judge[:1000]
    assert accuracy(net, judge) == pytest.approx(expected, abs=0.01)


def test_the_logit_of_cnn_cr_is_the_sum_of_its_group_and_other_groups_do_not_redraw() -> None:
    net = CnnCr().build(Mnist())
    assert isinstance(net, ReconstructingNet)
    images, classes = torch.rand(4, 1, 28, 28), torch.tensor([3, 1, 4, 1])
    groups = net.groups(images)
    assert torch.allclose(groups.sum(2), net(images))
    others = groups + torch.rand_like(groups) * (torch.arange(10) != classes[:, None])[:, :, None]
    assert torch.equal(net.redraw(others, classes), net.reconstruct(images, classes))
    assert not torch.equal(net.redraw(groups, (classes + 1) % 10), net.reconstruct(images, classes))


def test_suspicion_is_the_distance_to_the_winning_reconstruction_with_a_gradient() -> None:
    net = CnnCr().build(Mnist()).eval()
    images = torch.rand(4, 1, 28, 28, requires_grad=True)
    suspicion = Reconstruction().suspicion(net, images)
    redrawn = net.reconstruct(images, net(images).argmax(1))
    assert torch.allclose(suspicion, (images - redrawn).flatten(1).norm(dim=1))
    (gradient,) = torch.autograd.grad(suspicion.sum(), images)
    assert gradient.isfinite().all()
    assert (gradient.flatten(1).abs().sum(1) > 0).all()


@pytest.mark.parametrize("ball", ["linf(eps=0.2)", "l2(eps=2)", "rotate-shift(eps=1)", "wasserstein(eps=0.5)"])
def test_adversarial_training_stays_in_its_ball_and_raises_the_loss(ball: str) -> None:
    torch.manual_seed(0)
    net = SmallCNN().build(Mnist()).eval()
    images = torch.rand(6, 1, 28, 28) * torch.linspace(0.2, 1, 28)
    labels = net(images).argmax(1)
    draws = Draws(0, "test", torch.arange(6))
    defense = AdversarialTraining(threat=ball, steps=3)
    worst, kept = defense.training_batch(net, images, labels, draws, 1.0)
    assert torch.equal(kept, labels)
    assert worst.min() >= 0
    assert worst.max() <= 1
    loss = torch.nn.functional.cross_entropy
    assert loss(net(worst), labels) > loss(net(images), labels)
    if ball.startswith(("linf", "l2")):
        assert (core_threat(ball).size(images, worst - images) <= core_threat(ball).eps * (1 + 1e-5)).all()


def test_adversarial_training_starts_from_clean_images() -> None:
    images = torch.rand(4, 1, 28, 28)
    net = SmallCNN().build(Mnist()).eval()
    draws = Draws(0, "test", torch.arange(4))
    worst, _ = AdversarialTraining().training_batch(net, images, torch.arange(4), draws, 0.0)
    assert torch.allclose(worst, images)


def test_adversarial_training_leaves_the_share_that_it_was_told_to() -> None:
    images = torch.rand(4, 1, 28, 28)
    net = SmallCNN().build(Mnist()).eval()
    draws = Draws(0, "test", torch.arange(4))
    worst, _ = AdversarialTraining(clean=0.5).training_batch(net, images, torch.arange(4), draws, 1.0)
    assert torch.equal(worst[:2], images[:2])
    assert not torch.equal(worst[2:], images[2:])


class TestTorchvision:
    def test_a_misspelt_architecture_is_corrected(self) -> None:
        with pytest.raises(AdvbenchError, match="did you mean 'resnet50'"):
            Torchvision(architecture="resnet5o")

    def test_the_user_writes_name(self) -> None:
        assert Torchvision(architecture="resnet34").label == "torchvision(name=resnet34)"

    def test_official_weights_are_for_imagenet_alone(self) -> None:
        model = Torchvision(weights="DEFAULT")
        assert model.recipe(Mnist()) is None
        assert model.weights_file is None
        assert Torchvision(weights="mine.safetensors").weights_file == Path("mine.safetensors")
        assert "1,000 classes" in (model.why_not(Mnist()) or "")

    def test_unknown_official_weights_name_the_known_ones(self) -> None:
        with pytest.raises(AdvbenchError, match="IMAGENET1K_V1"):
            Torchvision(weights="IMAGENET22K").build(Mnist())

    def test_a_file_that_torchvision_made_loads(self, tmp_path: Path) -> None:
        name, path = "shufflenet_v2_x0_5", tmp_path / "theirs.safetensors"
        theirs = models.get_model(name, weights=None, num_classes=10).eval()
        safetensors.torch.save_file(theirs.state_dict(), path)
        net = fitted(Torchvision(architecture=name), Cifar10(), load_weights(path)[0], path)
        images = torch.rand(2, 3, 64, 64)
        mean, deviation = (torch.tensor(numbers).view(3, 1, 1) for numbers in IMAGENET)
        assert torch.equal(net(images), theirs((images - mean) / deviation))

    def test_weights_that_cannot_be_downloaded_are_one_line_with_what_to_do(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def unreachable(*args: object, **kwargs: object) -> None:
            raise URLError("no route")

        monkeypatch.setattr(models, "get_model", unreachable)
        with pytest.raises(AdvbenchError, match=r"of resnet18 are not on this machine.*weights=FILE$"):
            Torchvision(weights="DEFAULT").build(Mnist())

    def test_a_file_is_not_official(self) -> None:
        assert not Torchvision(weights="resnet.safetensors").official


class TestWrongFiles:
    def refusal(self, path: Path, model: Model | None = None) -> str:
        with pytest.raises(AdvbenchError) as error:
            fitted(model or Wong2019(), Mnist(), load_weights(path)[0], path)
        text = str(error.value)
        assert str(path) in text
        assert "\n" not in text
        return text

    @pytest.fixture
    def state(self) -> dict[str, torch.Tensor]:
        return Wong2019().build(Mnist()).state_dict()

    def test_a_missing_file(self, tmp_path: Path) -> None:
        assert "no such file" in self.refusal(tmp_path / "none.safetensors")

    @pytest.mark.parametrize(
        ("content", "words"),
        [
            (b"", "empty"),
            (b"<!DOCTYPE html><html>404</html>", "web page"),
            (b"\n<html>", "web page"),
            (b"hello", "no safetensors file"),
            (b"\x10" + b"\0" * 7 + b"{not a header!!!}", "damaged"),
            (b"PK\x03\x04 and then nothing", "damaged"),
            (b"\x80\x02garbage", "can't be loaded"),
        ],
    )
    def test_a_file_that_holds_no_weights(self, tmp_path: Path, content: bytes, words: str) -> None:
        path = tmp_path / "weights.safetensors"
        path.write_bytes(content)
        assert words in self.refusal(path)

    def test_a_file_cut_short(self, tmp_path: Path, state: dict[str, torch.Tensor]) -> None:
        path = tmp_path / "weights.safetensors"
        path.write_bytes(safetensors.torch.save(state)[:-100])
        assert "damaged" in self.refusal(path)

    def test_weights_of_another_network(self, tmp_path: Path, state: dict[str, torch.Tensor]) -> None:
        path = tmp_path / "weights.safetensors"
        safetensors.torch.save_file(state, path)
        text = self.refusal(path, SmallCNN())
        assert "small-cnn" in text
        assert "'4.weight' is missing" in text

    def test_weights_of_another_width(self, tmp_path: Path) -> None:
        path = tmp_path / "weights.safetensors"
        safetensors.torch.save_file(SmallCNN(width=4).build(Mnist()).state_dict(), path)
        assert "(4, 1, 4, 4) instead of (16, 1, 4, 4)" in self.refusal(path, SmallCNN())

    def test_a_missing_and_an_unexpected_key_are_named(self, tmp_path: Path, state: dict[str, torch.Tensor]) -> None:
        path = tmp_path / "weights.safetensors"
        safetensors.torch.save_file({**state, "extra": torch.ones(1)}, path)
        assert "'extra' is unexpected" in self.refusal(path)
        safetensors.torch.save_file({key: value for key, value in state.items() if key != "5.bias"}, path)
        assert "'5.bias' is missing" in self.refusal(path)

    def test_whole_numbers_are_no_weights(self, tmp_path: Path, state: dict[str, torch.Tensor]) -> None:
        path = tmp_path / "weights.safetensors"
        safetensors.torch.save_file({key: value.to(torch.int32) for key, value in state.items()}, path)
        assert "int32" in self.refusal(path)

    def test_values_that_are_not_numbers(self, tmp_path: Path, state: dict[str, torch.Tensor]) -> None:
        path = tmp_path / "weights.safetensors"
        safetensors.torch.save_file({**state, "0.bias": torch.full((16,), float("nan"))}, path)
        assert "0.bias" in self.refusal(path)

    def test_a_checkpoint_with_code_is_not_run(self, tmp_path: Path) -> None:
        path = tmp_path / "whole.pt"
        torch.save(Wong2019().build(Mnist()), path)
        assert "more than tensors" in self.refusal(path)

    def test_half_precision_widens(self, tmp_path: Path, state: dict[str, torch.Tensor]) -> None:
        path = tmp_path / "weights.safetensors"
        safetensors.torch.save_file({key: value.half() for key, value in state.items()}, path)
        net = fitted(Wong2019(), Mnist(), load_weights(path)[0], path)
        assert {parameter.dtype for parameter in net.parameters()} == {torch.float32}

    @pytest.mark.parametrize("wrapping", ["bare", "module", "state_dict", "list", "net"])
    def test_usual_checkpoints_load(self, tmp_path: Path, state: dict[str, torch.Tensor], wrapping: str) -> None:
        path = tmp_path / "checkpoint.pth"
        prefixed = {f"module.{key}": value for key, value in state.items()}
        wrapped = {
            "bare": state,
            "module": prefixed,
            "state_dict": {"state_dict": state, "epoch": 3},
            "list": {"state_dict": [state], "err": 0.01},
            "net": {"net": prefixed, "epoch": 3},
        }
        torch.save(wrapped[wrapping], path)
        net = fitted(Wong2019(), Mnist(), load_weights(path)[0], path)
        assert all(torch.equal(net.state_dict()[key], state[key]) for key in state)
