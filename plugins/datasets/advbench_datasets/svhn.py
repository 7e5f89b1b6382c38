"""Street View House Numbers, cropped digits (Netzer et al., 2011)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from advbench_datasets.image_files import Array, ImageFiles

_PART = "the judged images are cut from the training file, for want of the test file"


@dataclass(frozen=True)
class Svhn(ImageFiles):
    """House numbers: 68,257 to train on, 5,000 to calibrate, the 26,032 test digits to judge."""

    name = "svhn"
    reference = "Netzer et al., 2011: Reading digits in natural images with unsupervised feature learning"
    shape = (3, 32, 32)
    class_names = tuple("0123456789")
    official = (73_257, 26_032)
    folder = "train_32x32.mat"
    arrays = ("svhn/svhn.npz", "svhn.npz")
    partial_arrays = {"svhn/svhn_head.npz": _PART, "svhn_head.npz": _PART}

    def complete(self, root: Path) -> bool:
        return all((root / f"{part}_32x32.mat").is_file() for part in ("train", "test"))

    def read(self, root: Path, train: bool) -> tuple[Array, Array]:
        from torchvision import datasets

        part = datasets.SVHN(str(root), split="train" if train else "test")  # needs scipy
        return part.data.transpose(0, 2, 3, 1), part.labels

    def download(self, root: Path) -> None:
        from torchvision import datasets

        for split in ("train", "test"):
            datasets.SVHN(str(root), split=split, download=True)
