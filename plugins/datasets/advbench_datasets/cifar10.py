"""CIFAR-10 (Krizhevsky, 2009: Learning multiple layers of features from tiny images)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from advbench_datasets.image_files import Array, ImageFiles


@dataclass(frozen=True)
class Cifar10(ImageFiles):
    """Small photos: 45,000 to train on, 5,000 to calibrate, the 10,000 test photos to judge."""

    name = "cifar10"
    reference = "Krizhevsky, 2009: Learning multiple layers of features from tiny images"
    shape = (3, 32, 32)
    class_names = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
    mirrorable = True
    official = (50_000, 10_000)
    folder = "cifar-10-batches-py"
    arrays = ("cifar10/cifar10.npz", "cifar10.npz")
    partial_arrays = {
        "cifar10/cifar10_exact.npz": "",
        "cifar10_exact.npz": "",
        "cifar10/cifar10_jpeg.npz": "damaged by JPEG compression",
        "cifar10_jpeg.npz": "damaged by JPEG compression",
    }

    def complete(self, root: Path) -> bool:
        names = ("batches.meta", "test_batch", *(f"data_batch_{number}" for number in range(1, 6)))
        return all((root / self.folder / name).is_file() for name in names)

    def read(self, root: Path, train: bool) -> tuple[Array, Array]:
        from torchvision import datasets

        part = datasets.CIFAR10(str(root), train=train)  # which compares checksums before it unpickles
        return part.data, np.asarray(part.targets)

    def download(self, root: Path) -> None:
        from torchvision import datasets

        datasets.CIFAR10(str(root), download=True)
