"""Weights: found only by what they depend on, refused when damaged, the same for everybody."""

from __future__ import annotations

import json
import os
import threading
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from advbench.data import Data, DataFolders, Examples
from advbench.errors import AdvbenchError
from advbench.plugin import Dataset, Defense, Model
from advbench.plugins.discovery import discover
from advbench.recipe import Recipe
from advbench.target.identity import TargetPlan
from advbench.weights import weights
from advbench.weights.training import accuracy
from advbench.weights.weight_files import (
    cached_path,
    file_digest,
    load_weights,
    manifest,
    publish_weights,
    save_weights,
    weights_folders,
)
from advbench.weights.weights import check_weights, find_weights, obtain_weights, weights_key
from advbench_datasets.mnist_5k import Mnist5k
from advbench_defenses.adversarial_training import AdversarialTraining
from advbench_defenses.reconstruction import Reconstruction
from advbench_models.cnn_cr import CnnCr
from advbench_models.small_cnn import SmallCNN

TOP = Path(__file__).parents[2]
KEPT = json.loads((TOP / "weights" / "manifest.json").read_text())["weights"]


@dataclass(frozen=True)
class Points(Dataset):
    """Images of one bright pixel."""

    name = "points"
    shape = (1, 2, 2)
    class_names = ("a", "b")

    def load(self, folders: DataFolders) -> Data:
        images = torch.eye(4).view(4, 1, 2, 2).repeat(8, 1, 1, 1)
        examples = Examples(images, torch.tensor([0, 0, 1, 1]).repeat(8), torch.arange(32))
        return Data(examples[:16], examples[16:24], examples[24:])

    def find(self, folders: DataFolders) -> str | None:
        return "here"


@dataclass(frozen=True)
class Line(Model):
    """A linear network."""

    name = "line"

    seed: int = 0
    bias: bool = True

    def build(self, dataset: Dataset) -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(4, 2, bias=self.bias))

    def recipe(self, dataset: Dataset) -> Recipe:
        return Recipe(epochs=2, batch=4, learning_rate=0.1, seed=self.seed)


@dataclass(frozen=True)
class Ready(Line):
    """A network that comes with its weights."""

    name = "ready"

    def recipe(self, dataset: Dataset) -> Recipe | None:  # type: ignore[override]
        return None

    def build(self, dataset: Dataset) -> nn.Module:
        net = super().build(dataset)
        for parameter in net.parameters():
            nn.init.constant_(parameter, 0.5)
        return net


@dataclass(frozen=True)
class Trainer(Defense):
    """Trains, and changes nothing."""

    name = "trainer"
    trains = True

    strength: float = 1.0


DATASET = Points()
DATA = DATASET.load(DataFolders())


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADVBENCH_CACHE", str(tmp_path / "cache"))


def key(model: Model, *defenses: Defense, data: Data = DATA) -> str:
    return weights_key(TargetPlan(DATASET, model, defenses), data, model.recipe(DATASET) or Recipe())


def test_the_key_changes_with_everything_that_the_weights_depend_on() -> None:
    other = replace(DATA, train=DATA.train[:12])
    keys = [
        key(Line()),
        key(Line(seed=1)),
        key(Line(bias=False)),
        key(Ready()),
        key(Line(), data=other),
        key(Line(), Trainer()),
        key(Line(), Trainer(strength=2)),
        key(Line(), Trainer(), Trainer(strength=2)),
        key(Line(), Trainer(strength=2), Trainer()),
    ]
    assert len(set(keys)) == len(keys)


def test_the_key_does_not_change_with_what_the_weights_do_not_depend_on() -> None:
    assert key(Line()) == key(Line(weights="elsewhere")) == key(Line(), Reconstruction())
    assert key(Line()) == key(Line(), data=replace(DATA, judge=DATA.judge[:2], source="elsewhere"))


def test_weights_are_trained_once_and_then_cached() -> None:
    assert find_weights(TargetPlan(DATASET, Line()), DATA) is None
    first = obtain_weights(TargetPlan(DATASET, Line()), DATA)
    assert first.origin.startswith("trained")
    second = obtain_weights(TargetPlan(DATASET, Line()), DATA)
    assert second.origin.startswith("cached")
    assert first.sha256 == second.sha256 == file_digest(cached_path(key(Line())))
    assert second.recipe == Line().recipe(DATASET)
    assert second.accuracy == first.accuracy == accuracy(second.net, DATA.calibrate)
    assert not second.net.training


def test_two_trainings_write_the_same_file() -> None:
    first = obtain_weights(TargetPlan(DATASET, Line()), DATA)
    assert first.path
    content = first.path.read_bytes()
    first.path.unlink()
    obtain_weights(TargetPlan(DATASET, Line()), DATA)
    assert first.path.read_bytes() == content


def test_two_who_train_at_once_do_no_harm() -> None:
    state = Line().build(DATASET).state_dict()
    path = cached_path("shared")
    failures: list[BaseException] = []

    def write() -> None:
        try:
            for _ in range(20):
                save_weights(path, state, {"key": "shared"})
                load_weights(path)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert [file.name for file in path.parent.iterdir()] == ["shared.safetensors"]


@pytest.mark.parametrize("place", [60, -3])
def test_damaged_cached_weights_are_refused_with_what_to_do(place: int) -> None:
    found = obtain_weights(TargetPlan(DATASET, Line()), DATA)
    assert found.path
    content = bytearray(found.path.read_bytes())
    content[place] ^= 0x15
    found.path.write_bytes(content)
    with pytest.raises(AdvbenchError) as error:
        obtain_weights(TargetPlan(DATASET, Line()), DATA)
    assert f"rm {found.path}" in str(error.value)
    assert "\n" not in str(error.value)


def test_cached_weights_under_another_key_are_refused() -> None:
    found = obtain_weights(TargetPlan(DATASET, Line()), DATA)
    assert found.path
    found.path.replace(cached_path(key(Line(seed=1))))
    with pytest.raises(AdvbenchError, match="damaged"):
        find_weights(TargetPlan(DATASET, Line(seed=1)), DATA)


def test_a_cache_that_can_not_be_written_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("ADVBENCH_CACHE", str(tmp_path / "file"))
    with pytest.raises(AdvbenchError, match="ADVBENCH_CACHE"):
        obtain_weights(TargetPlan(DATASET, Line()), DATA)


def test_a_named_file_is_taken_whatever_else_is_there(tmp_path: Path) -> None:
    obtain_weights(TargetPlan(DATASET, Line()), DATA)
    path = save_weights(tmp_path / "mine.safetensors", Ready().build(DATASET).state_dict(), {})
    found = obtain_weights(TargetPlan(DATASET, Line(weights=str(path))), DATA)
    assert found.sha256 == file_digest(path)
    assert found.recipe is None
    assert found.state_dict["1.bias"].tolist() == [0.5, 0.5]


def test_a_relative_name_is_found_in_a_data_folder_unless_it_lies_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, data = tmp_path / "here", tmp_path / "data"
    here.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.setenv("ADVBENCH_DATA", str(data))
    model = Line(weights="folder/mine.safetensors")
    assert model.weights_file == Path("folder/mine.safetensors")
    for place in (data, here):
        path = place / model.weights
        path.parent.mkdir(parents=True)
        save_weights(path, Ready().build(DATASET).state_dict(), {})
        assert model.weights_file is not None
        assert model.weights_file.resolve() == path


def test_a_named_file_is_taken_by_a_model_that_comes_with_weights_of_its_own(tmp_path: Path) -> None:
    state = Line().build(DATASET).state_dict()
    path = save_weights(tmp_path / "mine.safetensors", state, {})
    model = Ready(weights=str(path))
    found = obtain_weights(TargetPlan(DATASET, model), DATA)
    assert (found.sha256, found.path, found.origin) == (file_digest(path), path, str(path))
    assert all(torch.equal(value, state[name]) for name, value in found.state_dict.items())
    with pytest.raises(AdvbenchError, match=r"mine.safetensors: not the weights of ready.*'1.bias' is unexpected"):
        find_weights(TargetPlan(DATASET, replace(model, bias=False)), DATA)
    with pytest.raises(AdvbenchError, match="trainer can't train it"):
        find_weights(TargetPlan(DATASET, model, (Trainer(),)), DATA)
    path.unlink()
    with pytest.raises(AdvbenchError, match="no such file of weights"):
        find_weights(TargetPlan(DATASET, model), DATA)


def test_a_model_may_say_that_its_weights_name_no_file() -> None:
    kind = type("Named", (Ready,), {"weights_file": None})
    assert obtain_weights(TargetPlan(DATASET, kind(weights="OURS")), DATA).origin == "comes with the model"


def test_a_file_of_another_network_says_what_it_is_for() -> None:
    path = obtain_weights(TargetPlan(DATASET, Line()), DATA).path
    with pytest.raises(AdvbenchError, match="the file says it is for 'line' on 'points'"):
        find_weights(TargetPlan(DATASET, Line(bias=False, weights=str(path))), DATA)


def test_a_model_that_comes_with_its_weights_is_never_trained() -> None:
    found = obtain_weights(TargetPlan(DATASET, Ready()), DATA)
    assert found.path is None
    assert found.sha256 == obtain_weights(TargetPlan(DATASET, Ready()), DATA).sha256
    assert found.sha256 != obtain_weights(TargetPlan(DATASET, Ready(bias=False)), DATA).sha256


def test_a_model_that_comes_with_its_weights_is_never_passed_off_as_trained() -> None:
    with pytest.raises(AdvbenchError, match="trainer can't train it"):
        obtain_weights(TargetPlan(DATASET, Ready(), (Trainer(),)), DATA)


def test_float16_keeps_what_it_can_and_only_that(tmp_path: Path) -> None:
    state = {"exact": torch.tensor([0.5, -2.0]), "fine": torch.tensor([0.1]), "count": torch.tensor(3)}
    path = save_weights(tmp_path / "mixed.safetensors", state, {"key": "k"})
    loaded, header = load_weights(path)
    assert header["key"] == "k"
    assert all(torch.equal(loaded[name], state[name]) for name in state)
    assert b'"F16"' in path.read_bytes()
    assert b'"F32"' in path.read_bytes()


def test_published_weights_are_found_through_their_manifest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = obtain_weights(TargetPlan(DATASET, Line(), (Trainer(),)), DATA)
    assert made.path
    file = publish_weights(made.path, tmp_path / "shelf", seconds=90)
    made.path.unlink()
    monkeypatch.setenv("ADVBENCH_WEIGHTS", f"{tmp_path / 'nowhere'}:{tmp_path / 'shelf'}")
    found = find_weights(TargetPlan(DATASET, Line(), (Trainer(),)), DATA)
    assert found
    assert (found.path, found.sha256) == (file, made.sha256)
    assert file.name == "line+trainer+points.safetensors"
    (entry,) = manifest(tmp_path / "shelf").values()
    assert entry["recipe"] == Line().recipe(DATASET).params()
    assert (entry["name"], entry["minutes"]) == ("line+trainer+points", 1.5)
    file.write_bytes(file.read_bytes() + b"\0")
    with pytest.raises(AdvbenchError, match=r"line\+trainer\+points"):
        find_weights(TargetPlan(DATASET, Line(), (Trainer(),)), DATA)


@pytest.mark.parametrize("text", ["{", "[]", '{"weights": [{"file": "x"}]}', '{"weights": 3}'])
def test_a_broken_manifest_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    (tmp_path / "manifest.json").write_text(text)
    monkeypatch.setenv("ADVBENCH_WEIGHTS", str(tmp_path))
    with pytest.raises(AdvbenchError) as error:
        find_weights(TargetPlan(DATASET, Line()), DATA)
    assert str(tmp_path / "manifest.json") in str(error.value)


def test_training_again_agrees_with_what_is_kept() -> None:
    obtain_weights(TargetPlan(DATASET, Line()), DATA)
    check = check_weights(TargetPlan(DATASET, Line()), DATA)
    assert check.agrees
    assert check.largest_difference == 0
    assert check.kept_accuracy == check.retrained_accuracy


def test_a_header_whose_length_looks_like_a_pickle_is_no_pickle(tmp_path: Path) -> None:
    for size in range(0, 264, 8):  # the first byte of the file is the length of the header, modulo 256
        path = save_weights(tmp_path / "w.safetensors", {"a": torch.ones(3)}, {"note": "x" * size})
        load_weights(path)
        if path.read_bytes()[:1] == b"\x80":
            return
    raise AssertionError("no header of such a length was tried")


def test_nothing_kept_is_nothing_to_check() -> None:
    with pytest.raises(AdvbenchError, match="no weights are kept"):
        check_weights(TargetPlan(DATASET, Line()), DATA)


SHIPPED = [
    (SmallCNN(), (), 0.97),
    (SmallCNN(), (AdversarialTraining(),), 0.96),
    (CnnCr(), (), 0.97),
    (CnnCr(), (AdversarialTraining(),), 0.96),
]


@pytest.mark.parametrize(("model", "defenses", "least"), SHIPPED)
def test_the_quick_suite_trains_nothing(model: Model, defenses: tuple[Defense, ...], least: float) -> None:
    dataset = Mnist5k()
    data = dataset.load(DataFolders())
    found = find_weights(TargetPlan(dataset, model, defenses), data)
    assert found, "a parameter, a recipe or the data changed: train and publish these weights again"
    assert found.origin.startswith("shipped")
    assert accuracy(found.net, data.judge) >= least
    assert found.accuracy == pytest.approx(accuracy(found.net, data.calibrate), abs=0.005)


@pytest.mark.parametrize(("owner", "most"), [("advbench_models", 6_000_000), (TOP.name, 64_000_000)])
def test_shipped_weights_are_small_and_complete(owner: str, most: int) -> None:
    folder = next(folder for folder in weights_folders() if folder.parent.name == owner)
    listed = {entry["file"] for entry in manifest(folder).values()}
    assert listed == {path.name for path in folder.glob("*.safetensors")}
    assert sum((folder / name).stat().st_size for name in listed) <= most
    for entry in json.loads((folder / "manifest.json").read_text())["weights"]:
        assert {"name", "sha256", "recipe", "accuracy", "hardware", "minutes"} <= entry.keys()


@pytest.mark.parametrize("entry", KEPT, ids=[entry["name"] for entry in KEPT])
def test_weights_of_the_checkout_are_those_of_its_recipes(
    entry: dict[str, Any], shared_data: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("ADVBENCH_CACHE", str(tmp_path))
    plugins = discover()
    dataset, model = plugins.dataset(entry["dataset"]), plugins.model(entry["model"])
    defenses = [defense for text in entry["defenses"] for defense in plugins.defense(text)]
    data = dataset.load(DataFolders((shared_data,), download=False))
    found = find_weights(TargetPlan(dataset, model, defenses), data)
    assert found, "a parameter, a recipe or the data changed: train and publish these weights again"
    assert accuracy(found.net, data.judge[:500]) >= entry["tested"] - 0.03


def test_a_plugin_that_can_not_be_imported_does_not_hide_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    from importlib.metadata import EntryPoint

    from advbench.weights import weight_files

    points = [
        EntryPoint("broken", "no_such_package_at_all", "advbench"),
        EntryPoint("m", "advbench_models", "advbench"),
    ]
    monkeypatch.setattr(weight_files, "entry_points", lambda group: points)
    assert any(folder.parent.name == "advbench_models" for folder in weights.weights_folders())


def _holding_itself(kind: type) -> object:
    value: Any = kind()
    if isinstance(value, list):
        value.append(value)
    else:
        value["state_dict"] = value
    return value


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (_holding_itself(list), "no state dict in it"),
        (_holding_itself(dict), "no state dict in it"),
        ({1: torch.zeros(1)}, "no state dict in it"),
        ({"w": torch.zeros(1).expand(1 << 40)}, "larger than the file can hold"),
    ],
    ids=["list", "dict", "numbers", "wide"],
)
def test_a_checkpoint_that_would_keep_its_reader_busy_is_refused(tmp_path: Path, content: object, words: str) -> None:
    torch.save(content, tmp_path / "w.pt")
    with pytest.raises(AdvbenchError, match=words):
        load_weights(tmp_path / "w.pt")


def test_a_bomb_is_not_unpacked(tmp_path: Path) -> None:
    import zipfile

    with zipfile.ZipFile(tmp_path / "w.pt", "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("archive/data.pkl", b"\0" * (100 << 20))
    with pytest.raises(AdvbenchError, match="can't be loaded"):
        load_weights(tmp_path / "w.pt")


def test_weights_are_as_readable_as_the_umask_leaves_them(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        save_weights(tmp_path / "w.safetensors", {"w": torch.zeros(2)}, {})
    finally:
        os.umask(before)
    assert (tmp_path / "w.safetensors").stat().st_mode & 0o777 == 0o640
    assert [path.name for path in tmp_path.iterdir()] == ["w.safetensors"]
