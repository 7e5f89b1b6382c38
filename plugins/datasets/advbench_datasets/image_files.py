"""Official image sets: arrays in an `.npz` file, or torchvision's own folders and downloads."""

from __future__ import annotations

import pickle
import warnings
import zipfile
from abc import abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from torch import Tensor

from advbench.data import Data, DataFolders, Examples
from advbench.errors import AdvbenchError
from advbench.plugin import Dataset

Array = np.ndarray[Any, Any]


class Part(NamedTuple):
    """Images (N, C, H, W) in uint8, labels, and positions in the official part."""

    images: Tensor
    labels: Tensor
    positions: Tensor


@dataclass(frozen=True)
class ImageFiles(Dataset):
    """Judged on the official test images in their order; the end of the training images is held out to calibrate."""

    official: ClassVar[tuple[int, int]]
    """How many images the official training and test parts hold."""
    arrays: ClassVar[tuple[str, ...]]
    """Where an `.npz` file may lie in a data folder."""
    folder: ClassVar[str]
    """Where torchvision keeps its files in a data folder."""

    @abstractmethod
    def torchvision_part(self, root: Path, train: bool, download: bool) -> Any:
        """torchvision's own data set, imported only here."""

    @abstractmethod
    def torchvision_root(self, folder: Path) -> Path | None:
        """The `root` that torchvision wants, when its files lie in this data folder."""

    def find(self, folders: DataFolders) -> str | None:
        found = folders.find(*self.arrays) or self._raw(folders)
        return str(found) if found else None

    def load(self, folders: DataFolders) -> Data:
        if path := folders.find(*self.arrays):
            train, test = self._read_arrays(path)
            return self._split(train, test, str(path))
        root = self._raw(folders)
        if root is None and not folders.download:
            raise AdvbenchError(f"{self.name}: not found; {self._remedy(folders)}")
        try:
            if root is None:
                root = self._download(folders)
            with warnings.catch_warnings():  # torchvision reads old pickles in a way that new numpy versions lament
                warnings.simplefilter("ignore")
                parts = [
                    self._part(self.torchvision_part(root, train, download=False), train) for train in (True, False)
                ]
        except ImportError as error:
            raise AdvbenchError(f"{self.name}: {root} can't be read ({error}); pip install it") from error
        except (RuntimeError, OSError, ValueError, EOFError, KeyError, pickle.UnpicklingError) as error:
            raise AdvbenchError(
                f"{self.name}: the files under {root} are damaged ({_one_line(error)}); delete them and try again"
            ) from error
        return self._split(parts[0], parts[1], str(root))

    def _raw(self, folders: DataFolders) -> Path | None:
        return next((root for folder in folders.folders if (root := self.torchvision_root(folder))), None)

    def _remedy(self, folders: DataFolders) -> str:
        looked = ", ".join(str(folder) for folder in folders.folders) or "no folder at all"
        return (
            f"looked in {looked} for {' or '.join((*self.arrays, self.folder))}; "
            "name the folder with --data or ADVBENCH_DATA, or allow a download"
        )

    def _download(self, folders: DataFolders) -> Path:
        root = folders.folders[-1] if folders.folders else Path("data")  # ./data, never a folder that somebody shares
        try:
            root.mkdir(parents=True, exist_ok=True)
            for train in (True, False):
                self.torchvision_part(root, train, download=True)
        except Exception as error:  # torchvision lets through whatever network and disk come up with
            raise AdvbenchError(
                f"{self.name}: not found, and the download failed ({_one_line(error)}); {self._remedy(folders)}"
            ) from error
        return self.torchvision_root(root) or root

    def _part(self, part: Any, train: bool) -> Part:
        labels = part.labels if hasattr(part, "labels") else part.targets
        return self._checked(np.asarray(part.data), np.asarray(labels), None, train, str(part.root))

    def _read_arrays(self, path: Path) -> tuple[Part, Part]:
        try:
            with np.load(path, allow_pickle=False) as file:
                missing = [key for key in ("x_train", "y_train", "x_test", "y_test") if key not in file]
                if missing:
                    raise AdvbenchError(f"{self.name}: {path} lacks {', '.join(missing)}; it holds {', '.join(file)}")
                parts = []
                for kind in ("train", "test"):
                    index = file[f"{kind}_index"] if f"{kind}_index" in file else None
                    parts.append(
                        self._checked(file[f"x_{kind}"], file[f"y_{kind}"], index, kind == "train", str(path))
                    )
        except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile) as error:
            raise AdvbenchError(f"{self.name}: {path} is damaged ({_one_line(error)}); get it again") from error
        return parts[0], parts[1]

    def _checked(self, images: Array, labels: Array, positions: Array | None, train: bool, where: str) -> Part:
        channels, height, width = self.shape
        if images.ndim == 3:
            images = images[..., None]
        if images.shape[1:] == self.shape and images.shape[1:] != (height, width, channels):
            images = images.transpose(0, 2, 3, 1)  # SVHN's loader puts the channels first
        kind = "training" if train else "test"
        if images.shape[1:] != (height, width, channels) or images.dtype != np.uint8:
            raise AdvbenchError(
                f"{self.name}: the {kind} images in {where} are {images.dtype} of {images.shape[1:]}, "
                f"not uint8 of {(height, width, channels)}"
            )
        if labels.shape != (len(images),) or not np.issubdtype(labels.dtype, np.integer):
            raise AdvbenchError(f"{self.name}: {where} has {len(images)} {kind} images but labels of {labels.shape}")
        if len(labels) and not (0 <= int(labels.min()) <= int(labels.max()) < self.classes):
            raise AdvbenchError(f"{self.name}: {kind} labels in {where} are not classes 0 to {self.classes - 1}")
        if positions is None:
            positions = np.arange(len(images))
        elif positions.shape != labels.shape or len(np.unique(positions)) != len(positions):
            raise AdvbenchError(f"{self.name}: {where} does not name one position for each {kind} image")
        return Part(
            torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2))),
            torch.from_numpy(labels.astype(np.int64)),
            torch.from_numpy(positions.astype(np.int64)),
        )

    def _split(self, train: Part, test: Part, source: str) -> Data:
        whole = len(train.labels) >= self.official[0]
        held = 5000 if whole else len(train.labels) // 10
        first = len(train.labels) - held
        return Data(
            Examples(train.images[:first], train.labels[:first], train.positions[:first]),
            Examples(train.images[first:], train.labels[first:], train.positions[first:]),
            Examples(test.images, test.labels, test.positions),
            source=source,
            partial=self._missing(train, test, source),
        )

    def _missing(self, train: Part, test: Part, source: str) -> str:
        have = (len(train.labels), len(test.labels))
        parts = [
            f"{count:,} of {official:,} {kind} images"
            for kind, count, official in zip(("training", "test"), have, self.official, strict=True)
            if count < official
        ]
        return ", ".join(parts)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
