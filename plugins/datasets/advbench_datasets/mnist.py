"""MNIST (LeCun et al., 1998) and Fashion-MNIST (Xiao et al., 2017, arXiv:1708.07747), which share a file format."""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from advbench_datasets.image_files import Array, ImageFiles

_FILES = {
    True: ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    False: ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}


@dataclass(frozen=True)
class Mnist(ImageFiles):
    """Handwritten digits: 55,000 to train on, 5,000 to calibrate, the 10,000 test digits to judge."""

    name = "mnist"
    reference = "LeCun et al., 1998: Gradient-based learning applied to document recognition"
    shape = (1, 28, 28)
    class_names = tuple("0123456789")
    official = (60_000, 10_000)
    arrays = ("mnist/mnist.npz", "mnist.npz")
    folder = "MNIST/raw"

    def complete(self, root: Path) -> bool:
        return all(packed_or_not(root / self.folder / name) for names in _FILES.values() for name in names)

    def read(self, root: Path, train: bool) -> tuple[Array, Array]:
        images, labels = (read_idx(root / self.folder / name) for name in _FILES[train])
        return images, labels

    def download(self, root: Path) -> None:
        from torchvision import datasets

        datasets.MNIST(str(root), download=True)


@dataclass(frozen=True)
class FashionMnist(Mnist):
    """Pictures of clothes: 55,000 to train on, 5,000 to calibrate, the 10,000 test pictures to judge."""

    name = "fashion-mnist"
    reference = "Xiao et al., 2017, arXiv:1708.07747"
    class_names = (
        "T-shirt/top",
        "Trouser",
        "Pullover",
        "Dress",
        "Coat",
        "Sandal",
        "Shirt",
        "Sneaker",
        "Bag",
        "Ankle boot",
    )
    arrays = ("fashion_mnist/fashion_mnist.npz", "fashion_mnist.npz")
    folder = "FashionMNIST/raw"

    def download(self, root: Path) -> None:
        from torchvision import datasets

        datasets.FashionMNIST(str(root), download=True)


def packed_or_not(path: Path) -> Path | None:
    """The file, or the same one as it was downloaded."""
    return next((found for found in (path, path.with_name(path.name + ".gz")) if found.is_file()), None)


def read_idx(path: Path) -> Array:
    """An array of bytes in LeCun's format: 0, 0, type, rank, the sizes as big-endian integers, then the bytes."""
    found = packed_or_not(path) or path
    content = gzip.decompress(found.read_bytes()) if found.suffix == ".gz" else found.read_bytes()
    if content[:3] != b"\x00\x00\x08":
        raise ValueError(f"{found.name} is no IDX file of bytes")
    sizes = np.frombuffer(content, ">u4", count=content[3], offset=4)
    return np.frombuffer(content, np.uint8, offset=4 + 4 * content[3]).reshape(sizes.tolist())
