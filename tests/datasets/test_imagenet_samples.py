"""The photos: read from a file that advbench neither has nor fetches, all of them judged, none ever published."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Advbench

from advbench.data import DataFolders
from advbench.errors import AdvbenchError
from advbench.plugins import data_intake
from advbench_datasets import imagenet_samples
from advbench_datasets.imagenet_samples import ImagenetSamples, official_names

PHOTOS = ImagenetSamples()


def folder_with(tmp_path: Path, **arrays: np.ndarray[Any, Any]) -> DataFolders:
    (tmp_path / "imagenet_samples").mkdir(exist_ok=True)
    photos = np.arange(2 * 224 * 224 * 3, dtype=np.uint32).reshape(2, 224, 224, 3).astype(np.uint8)
    held = {"x_test": photos, "y_test": np.array([3, 999]), **arrays}
    np.savez(tmp_path / "imagenet_samples/imagenet_samples.npz", **held)
    return DataFolders((tmp_path,), download=True)


def test_all_photos_are_judged(shared_data: Path) -> None:
    data = data_intake.load(PHOTOS, DataFolders((shared_data,), download=False))
    assert [len(part) for part in (data.train, data.calibrate, data.judge)] == [0, 0, 100]
    assert data.judge.labels.tolist() == list(range(0, 1000, 10))
    assert data.judge.images.shape == (100, 3, 224, 224)
    assert "training pictures" in data.partial
    with np.load(shared_data / imagenet_samples.ARRAYS[0]) as file:
        assert np.array_equal(data.judge.images[7].permute(1, 2, 0).numpy(), file["x_test"][7])
        named = zip(file["name"], file["y_test"], strict=True)
        wrong = [name for name, label in named if name.replace("_", " ").lower() != PHOTOS.class_names[label].lower()]
    assert len(wrong) < 10, wrong  # a few classes have two names


def test_photos_of_your_own_are_taken_in_the_same_form(tmp_path: Path) -> None:
    data = data_intake.load(PHOTOS, folder_with(tmp_path))
    assert data.judge.labels.tolist() == [3, 999]
    assert data.partial == ""


def test_classes_are_called_as_torchvision_calls_them(monkeypatch: pytest.MonkeyPatch) -> None:
    assert PHOTOS.class_names == official_names()
    assert PHOTOS.classes == 1000
    monkeypatch.setattr(imagenet_samples, "find_spec", lambda name: None)  # where its file of names lies elsewhere
    assert imagenet_samples.class_names() == PHOTOS.class_names


def test_nobody_downloads_them(tmp_path: Path, advbench: Advbench) -> None:
    folders = DataFolders((tmp_path,), download=True)
    assert PHOTOS.find(folders) is None
    with pytest.raises(AdvbenchError, match=r"not to be downloaded; looked in .* with --data or ADVBENCH_DATA$"):
        PHOTOS.load(folders)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"x_test": np.zeros((2, 3, 224, 224), np.uint8)}, r"x_test is uint8 of \(2, 3, 224, 224\), not uint8 of"),
        ({"x_test": np.zeros((2, 224, 224, 3))}, "x_test is float64"),
        ({"y_test": np.array([1, 2, 3])}, "2 photos, and y_test is int64"),
        ({"y_test": np.array([1.0, 2.0])}, "y_test is float64"),
        ({"y_test": np.array([1, 1000])}, "y_test names classes beyond 0 to 999"),
    ],
)
def test_a_file_of_another_form_is_refused_in_words(
    tmp_path: Path, arrays: dict[str, np.ndarray[Any, Any]], words: str
) -> None:
    with pytest.raises(AdvbenchError, match=words):
        PHOTOS.load(folder_with(tmp_path, **arrays))


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut short", b"\x93NUMPY"])
def test_a_damaged_file_is_one_line(tmp_path: Path, content: bytes) -> None:
    folders = folder_with(tmp_path)
    (tmp_path / "imagenet_samples/imagenet_samples.npz").write_bytes(content)
    with pytest.raises(AdvbenchError, match=r"is damaged .* get it again$"):
        PHOTOS.load(folders)


def test_the_list_says_that_they_are_not_to_be_published(advbench: Advbench, tmp_path: Path) -> None:
    folder_with(tmp_path)
    listed = " ".join(advbench("data", "--data", tmp_path, "--offline", COLUMNS="400").out.split())
    assert "imagenet_samples.npz; not to be published" in listed
    assert listed.count("not to be published") == 4  # and the toy's, and images of one's own
