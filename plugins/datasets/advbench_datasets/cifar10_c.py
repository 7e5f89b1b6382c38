"""CIFAR-10-C (Hendrycks and Dietterich, 2019, arXiv:1903.12261), as its arrays are published."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from advbench import AdvbenchError, Data, DataFolders, Dataset, Examples, between, one_of
from advbench.errors import one_line
from advbench_datasets.cifar10 import Cifar10
from advbench_datasets.own import absent

CORRUPTIONS = (
    *("gaussian_noise", "shot_noise", "impulse_noise", "defocus_blur", "glass_blur", "motion_blur", "zoom_blur"),
    *("snow", "frost", "fog", "brightness", "contrast", "elastic_transform", "pixelate", "jpeg_compression"),
    *("speckle_noise", "gaussian_blur", "spatter", "saturate"),
)
"""The 15 that are reported, then the 4 that were meant for validation."""

EACH = 10_000


@dataclass(frozen=True)
class Cifar10C(Dataset):
    """CIFAR-10's 10,000 test photos, corrupted, to judge; to train and calibrate, CIFAR-10's own where it is here."""

    name = "cifar10-c"
    reference = "Hendrycks and Dietterich, 2019, arXiv:1903.12261"
    shape = (3, 32, 32)
    class_names = Cifar10.class_names
    mirrorable = True

    corruption: str = one_of(*CORRUPTIONS)
    severity: int = between(1, 5, default=1)

    def _place(self, folders: DataFolders) -> Path | None:
        for folder in (each / "CIFAR-10-C" for each in folders.folders):
            if all((folder / f"{name}.npy").is_file() for name in (self.corruption, "labels")):
                return folder
        return None

    def find(self, folders: DataFolders) -> str | None:
        path = self._place(folders)
        return str(path) if path else None

    def load(self, folders: DataFolders) -> Data:
        path = self._place(folders)
        if path is None:
            raise absent(self.label, f"CIFAR-10-C/{self.corruption}.npy and CIFAR-10-C/labels.npy", folders)
        images = self._rows(path / f"{self.corruption}.npy", (5 * EACH, 32, 32, 3))
        labels = self._rows(path / "labels.npy", (5 * EACH,))
        judge = Examples(
            torch.from_numpy(images.transpose(0, 3, 1, 2).copy()),
            torch.from_numpy(labels.astype(np.int64)),
            torch.arange(EACH),  # a photo's position in the test part, so that severities meet photo by photo
        )
        plain = Cifar10()
        if plain.find(folders) is None:
            return Data(
                judge[:0], judge[:0], judge, "CIFAR-10-C", "cifar10 is not here: nothing to train or calibrate on"
            )
        clean = plain.load(folders)
        return Data(clean.train, clean.calibrate, judge, "CIFAR-10-C", clean.partial and f"of cifar10: {clean.partial}")

    def _rows(self, path: Path, shape: tuple[int, ...]) -> np.ndarray:
        """The rows of this severity: a file holds all five, the mildest first."""
        try:
            array = np.load(path, mmap_mode="r", allow_pickle=False)
            if not isinstance(array, np.ndarray) or array.shape != shape or array.dtype != np.uint8:
                raise ValueError(f"not uint8 of {shape}")
        except (OSError, ValueError, EOFError) as error:
            raise AdvbenchError(f"{self.name}: {path} is damaged ({one_line(error)}); get it again") from error
        return np.array(array[(self.severity - 1) * EACH : self.severity * EACH])
