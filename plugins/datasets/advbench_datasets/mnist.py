"""MNIST (LeCun et al., 1998) and Fashion-MNIST (Xiao et al., 2017, arXiv:1708.07747), which share a file format."""

from __future__ import annotations

import gzip
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from advbench import Data, Draws, Examples, RotateShift
from advbench_datasets.image_files import Array, ImageFiles, Part

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
    digests = {
        "training": (
            "741c988805d008ac6e4c904b69001ba184c24b2c540a4ef403f4c71b676cf757",
            "1feba77c54802fa5339a11837ea4b2866434b83314ec45192930f1df69120c13",
        ),
        "test": (
            "6d87418db22cc8025d05968bec9bd5c3932904b23485740db143a061a2c9d161",
            "ddeff807876a9661a1110d45c266c86239a3a1b7d37da0c3716a7a683c852ff5",
        ),
    }

    binarized: bool = False  # pixels rounded to 0 or 1, so that balls are drawn around black and white images
    rotated: bool = False  # judged and calibration images turned by any angle, each by its own; training images are not

    def complete(self, root: Path) -> bool:
        return all(packed_or_not(root / self.folder / name) for names in _FILES.values() for name in names)

    def read(self, root: Path, train: bool) -> tuple[Array, Array]:
        images, labels = (read_idx(root / self.folder / name) for name in _FILES[train])
        return images, labels

    def _checked(self, images: Array, labels: Array, positions: Array | None, kind: str, where: str) -> Part:
        part = super()._checked(images, labels, positions, kind, where)
        return part._replace(images=black_and_white(part.images)) if self.binarized else part

    def _split(self, train: Part, test: Part, path: Path) -> Data:
        data = super()._split(train, test, path)
        if not self.rotated:
            return data
        calibrate, judge = rotated(data.calibrate, f"{self.name}/calibrate"), rotated(data.judge, f"{self.name}/judge")
        if self.binarized:
            calibrate = replace(calibrate, images=black_and_white(calibrate.images))
            judge = replace(judge, images=black_and_white(judge.images))
        return replace(data, calibrate=calibrate, judge=judge)

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
    mirrorable = True
    arrays = ("fashion_mnist/fashion_mnist.npz", "fashion_mnist.npz")
    folder = "FashionMNIST/raw"
    digests = {
        "training": (
            "2e487a6c89124f78f2d7521542223cafe96f7123c3ca13d447772ac6ecbb3012",
            "657fbd221bfc9f4198cc14b5619cc33ec57c58dd0e47af4d99d6650759e869a7",
        ),
        "test": (
            "c867c93ff95360594e8ec3287995350b824dd110b11595c0e13d5423f621867a",
            "3d0e6c6ea990b53b6f8f500a41cac93881d981b315f84578b7d915342ade01e9",
        ),
    }

    def download(self, root: Path) -> None:
        from torchvision import datasets

        datasets.FashionMNIST(str(root), download=True)


def black_and_white(images: Tensor) -> Tensor:
    """Every byte to 0 or 255, whichever is nearer."""
    return (images > 127).to(images.dtype) * 255


def rotated(examples: Examples, purpose: str) -> Examples:
    """Each image turned about its centre by an angle of its own, which depends on its id alone; rounded to bytes."""
    threat = RotateShift(degrees=180, pixels=0)
    images = examples.pixels()
    angles = threat.start(images, Draws(0, f"rotated/{purpose}", examples.ids))
    turned = threat.apply(images, angles).clamp(0, 1).mul(255).round().to(torch.uint8)
    return replace(examples, images=turned)


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
