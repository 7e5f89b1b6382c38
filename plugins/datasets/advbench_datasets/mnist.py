"""MNIST (LeCun et al., 1998) and Fashion-MNIST (Xiao et al., 2017, arXiv:1708.07747), which share a file format."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from advbench_datasets.image_files import ImageFiles

_RAW = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)


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

    def torchvision_root(self, folder: Path) -> Path | None:
        raw = folder / self.folder
        there = all((raw / name).is_file() or (raw / f"{name}.gz").is_file() for name in _RAW)
        return folder if there else None

    def torchvision_part(self, root: Path, train: bool, download: bool) -> Any:
        from torchvision import datasets

        return datasets.MNIST(str(root), train=train, download=download or self._packed(root))

    def _packed(self, root: Path) -> bool:
        """Whether the files lie there as they were downloaded; torchvision then unpacks them and downloads nothing."""
        return not all((root / self.folder / name).is_file() for name in _RAW)


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

    def torchvision_part(self, root: Path, train: bool, download: bool) -> Any:
        from torchvision import datasets

        return datasets.FashionMNIST(str(root), train=train, download=download or self._packed(root))
