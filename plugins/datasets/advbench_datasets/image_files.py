"""Official image sets: arrays in an `.npz` file, or torchvision's own folders and downloads."""

from __future__ import annotations

import contextlib
import hashlib
import pickle
import sys
import warnings
import zipfile
import zlib
from abc import abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from torch import Tensor

from advbench import AdvbenchError, Data, DataFolders, Dataset, Examples
from advbench.errors import one_line

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
    folder: ClassVar[str]
    """Where torchvision keeps its files in a data folder."""
    arrays: ClassVar[tuple[str, ...]]
    """Where an `.npz` file of the whole set may lie in a data folder."""
    partial_arrays: ClassVar[dict[str, str]] = {}
    """Where a file with a part of it may lie, for want of anything better, and what else is wrong with it."""
    digests: ClassVar[dict[str, tuple[str, str]]] = {}
    """SHA-256 of the official images and labels, as bytes in their order, of the training and the test part.

    Whoever leaves them out has them held by torchvision, where files are torchvision's, and by nobody otherwise.
    """

    @abstractmethod
    def complete(self, root: Path) -> bool:
        """Whether torchvision's files lie in this data folder."""

    @abstractmethod
    def read(self, root: Path, train: bool) -> tuple[Array, Array]:
        """Images and labels of one official part from torchvision's files."""

    @abstractmethod
    def download(self, root: Path) -> None:
        """Let torchvision download both parts into a data folder."""

    def find(self, folders: DataFolders) -> str | None:
        path = self._file(folders)
        return str(path) if path else None

    def load(self, folders: DataFolders) -> Data:
        path = self._file(folders)
        if path is None:
            path = self._download(folders)
        train, test = self._read_arrays(path) if path.suffix == ".npz" else self._read_folder(path)
        return self._split(train, test, path)

    def _file(self, folders: DataFolders) -> Path | None:
        """An `.npz` file, or the data folder that holds torchvision's."""
        whole = folders.find(*self.arrays)
        raw = next((folder for folder in folders.folders if self.complete(folder)), None)
        return whole or raw or folders.find(*self.partial_arrays)

    def _download(self, folders: DataFolders) -> Path:
        looked = ", ".join(str(folder) for folder in folders.folders) or "no folder at all"
        names = ", ".join((*self.arrays, *self.partial_arrays, self.folder))
        remedy = f"looked in {looked} for {names}; name the folder that has it with --data or ADVBENCH_DATA"
        if not folders.download:
            raise AdvbenchError(f"{self.name}: not on this machine; {remedy}, or allow the download")
        root = folders.folders[-1] if folders.folders else Path("data")  # ./data: the others may be shared
        before = {root, *root.rglob("*")} if root.exists() else set()
        try:
            root.mkdir(parents=True, exist_ok=True)
            with contextlib.redirect_stdout(sys.stderr):  # torchvision announces itself on the standard output
                self.download(root)
        except Exception as error:  # whatever network, disk and torchvision come up with
            _remove_empty({root, *root.rglob("*")} - before)
            raise AdvbenchError(
                f"{self.name}: not on this machine, and the download failed ({one_line(error)}); {remedy}"
            ) from error
        return root

    def _read_folder(self, root: Path) -> tuple[Part, Part]:
        try:
            with warnings.catch_warnings():  # torchvision reads old pickles in a way that new versions of numpy lament
                warnings.simplefilter("ignore")
                train, test = (self.read(root, train) for train in (True, False))
        except ImportError as error:
            raise AdvbenchError(
                f"{self.name}: {root} can't be read ({one_line(error)}); install that package"
            ) from error
        except (RuntimeError, OSError, ValueError, EOFError, KeyError, pickle.UnpicklingError) as error:
            raise AdvbenchError(
                f"{self.name}: {root / self.folder} is damaged ({one_line(error)}); delete it and get it again"
            ) from error
        where = str(root / self.folder)
        return self._checked(*train, None, "training", where), self._checked(*test, None, "test", where)

    def _read_arrays(self, path: Path) -> tuple[Part, Part]:
        try:
            with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
                if not isinstance(file, np.lib.npyio.NpzFile):
                    raise ValueError("a single array")
                missing = [key for key in ("x_train", "y_train", "x_test", "y_test") if key not in file]
                if missing:
                    raise AdvbenchError(f"{self.name}: {path} lacks {', '.join(missing)}; it holds {', '.join(file)}")
                arrays = {key: file[key] for key in file}
        except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error) as error:
            raise AdvbenchError(f"{self.name}: {path} is damaged ({one_line(error)}); get it again") from error
        train, test = (
            self._checked(arrays[f"x_{key}"], arrays[f"y_{key}"], arrays.get(f"{key}_index"), kind, str(path))
            for key, kind in (("train", "training"), ("test", "test"))
        )
        return train, test

    def _checked(self, images: Array, labels: Array, positions: Array | None, kind: str, where: str) -> Part:
        channels, height, width = self.shape
        if images.ndim == 3:
            images = images[..., None]
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
        self._hold_official(images, labels, positions, kind, where)
        return Part(
            torch.from_numpy(images.transpose(0, 3, 1, 2).copy()),  # a copy of our own: what was read may be read-only
            torch.from_numpy(labels.astype(np.int64)),
            torch.from_numpy(positions.astype(np.int64)),
        )

    def _hold_official(self, images: Array, labels: Array, positions: Array, kind: str, where: str) -> None:
        """Refuse what has the size of an official part and is not that part; a smaller one is told by its size."""
        count = self.official[kind == "test"]
        if len(images) < count or kind not in self.digests:
            return
        order = positions.argsort(kind="stable")
        if not np.array_equal(order, np.arange(len(order))):
            images, labels = images[order], labels[order]
        for what, array, due in zip(("images", "labels"), (images, labels), self.digests[kind], strict=True):
            found = hashlib.sha256(np.ascontiguousarray(array, np.uint8).data).hexdigest()
            if found != due:
                raise AdvbenchError(
                    f"{self.name}: the {kind} {what} in {where} are not the official ones (SHA-256 {found[:12]}…, not "
                    f"{due[:12]}…); delete them and get them again, or enter other images as a data set of your own"
                )

    def _split(self, train: Part, test: Part, path: Path) -> Data:
        held = 5000 if len(train.labels) >= self.official[0] else len(train.labels) // 10
        parts = Examples(*train), Examples(*test)
        first = len(train.labels) - held
        return Data(
            parts[0][:first], parts[0][first:], parts[1], source=str(path), partial=self._missing(train, test, path)
        )

    def _missing(self, train: Part, test: Part, path: Path) -> str:
        counts = zip(("training", "test"), (len(train.labels), len(test.labels)), self.official, strict=True)
        words = [f"{count:,} of {official:,} {kind} images" for kind, count, official in counts if count < official]
        words += {note for name, note in self.partial_arrays.items() if note and path.match(name)}
        return "; ".join(words)


def _remove_empty(paths: set[Path]) -> None:
    """Those of them that are folders with nothing in them, the innermost first."""
    for path in sorted(paths, key=lambda path: len(path.parts), reverse=True):
        if path.is_dir():
            with contextlib.suppress(OSError):  # not empty
                path.rmdir()
