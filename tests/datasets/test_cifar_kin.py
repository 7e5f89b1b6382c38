"""CIFAR-100 and CIFAR-10-C: read as they are published, and nothing in a pickle is executed that is not official."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from advbench.data import DataFolders
from advbench.errors import AdvbenchError
from advbench.plugins import data_intake
from advbench_datasets.cifar10_c import Cifar10C
from advbench_datasets.cifar100 import Cifar100


def at(*folders: Path) -> DataFolders:
    return DataFolders(folders, download=False)


def test_cifar100_is_read_from_arrays_and_split(tmp_path: Path) -> None:
    kinds = {"train": 200, "test": 100}
    held = {f"y_{kind}": np.arange(count) % 100 for kind, count in kinds.items()}
    draws = np.random.default_rng(0)
    held |= {f"x_{kind}": draws.integers(0, 256, (n, 32, 32, 3), dtype=np.uint8) for kind, n in kinds.items()}
    np.savez(tmp_path / "cifar100.npz", **held)
    data = data_intake.load(Cifar100(), at(tmp_path))
    assert [len(part) for part in (data.train, data.calibrate, data.judge)] == [180, 20, 100]
    assert data.partial == "200 of 50,000 training images; 100 of 10,000 test images"


def test_cifar100_has_a_hundred_classes_in_the_order_of_the_alphabet() -> None:
    names = Cifar100().class_names
    assert len(names) == len(set(names)) == 100
    assert list(names) == sorted(names)  # as the official file of names has them


class Hostile:
    def __reduce__(self) -> Any:
        return (Path.touch, (Path("was-executed"),))


def test_a_pickle_that_is_not_the_official_one_is_never_unpickled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cifar-100-python").mkdir()
    for name in ("meta", "train", "test"):
        (tmp_path / "cifar-100-python" / name).write_bytes(pickle.dumps(Hostile()))
    with pytest.raises(AdvbenchError, match=r"damaged .* delete it and get it again"):
        Cifar100().load(at(tmp_path))
    assert not (tmp_path / "was-executed").exists()


@pytest.fixture(scope="module")
def corrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The real layout at its real size; a photo's first pixel tells its row, the files are mostly holes."""
    root = tmp_path_factory.mktemp("data")
    (root / "CIFAR-10-C").mkdir()
    images = np.lib.format.open_memmap(
        root / "CIFAR-10-C/fog.npy", mode="w+", dtype=np.uint8, shape=(50_000, 32, 32, 3)
    )
    rows = np.arange(50_000)
    images[:, 0, 0, 0], images[:, 0, 0, 1], images[:, 0, 0, 2] = rows // 10_000, rows % 10_000 // 100, rows % 100
    images.flush()
    np.save(root / "CIFAR-10-C/labels.npy", (rows % 10).astype(np.uint8))
    return root


@pytest.mark.parametrize("severity", [1, 5])
def test_a_severity_is_a_fifth_of_the_file_in_the_order_of_the_test_part(corrupted: Path, severity: int) -> None:
    data = Cifar10C(corruption="fog", severity=severity).load(at(corrupted))
    first = data.judge.images[:, :, 0, 0]
    assert len(data.judge) == 10_000
    assert (first[:, 0] == severity - 1).all()
    assert (first[:, 1].long() * 100 + first[:, 2] == data.judge.ids).all()
    assert (data.judge.labels == data.judge.ids % 10).all()
    assert len(data.train) == 0
    assert data.partial == "cifar10 is not here: nothing to train or calibrate on"
    assert data.source == "CIFAR-10-C"


def test_what_has_another_size_or_objects_is_refused(tmp_path: Path, corrupted: Path) -> None:
    (tmp_path / "CIFAR-10-C").mkdir()
    np.save(tmp_path / "CIFAR-10-C/labels.npy", np.zeros(50_000, np.uint8))
    for wrong in (np.zeros((10, 32, 32, 3), np.uint8), np.array([Hostile()], dtype=object)):
        np.save(tmp_path / "CIFAR-10-C/snow.npy", wrong)
        with pytest.raises(AdvbenchError, match=r"snow\.npy is damaged .* get it again"):
            Cifar10C(corruption="snow").load(at(tmp_path))
    with pytest.raises(AdvbenchError, match=r"looked in .* for CIFAR-10-C/snow\.npy"):
        Cifar10C(corruption="snow").load(at(corrupted))
