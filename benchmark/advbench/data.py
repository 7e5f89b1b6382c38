"""Labelled images in memory, and where to look for them."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Iterable

DATA_VARIABLE = "ADVBENCH_DATA"


@dataclass(frozen=True)
class Examples:
    """Images (N, C, H, W) as uint8 or float32 in [0, 1], their labels, and ids that outlive any subset or order."""

    images: Tensor
    labels: Tensor
    ids: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: slice | Tensor) -> Examples:
        return Examples(self.images[index], self.labels[index], self.ids[index])

    def places(self, ids: Tensor) -> Tensor:
        """Where examples with these ids stand; every one of them has to be among these."""
        order = self.ids.argsort()
        return order[torch.searchsorted(self.ids[order], ids)]

    def pixels(self, device: torch.device | str = "cpu") -> Tensor:
        """A fresh float32 copy in [0, 1] on the device; the stored images stay as they are."""
        images = self.images.to(device)
        return images.float().div_(255) if images.dtype == torch.uint8 else images.to(torch.float32, copy=True)

    @cached_property
    def fingerprint(self) -> str:
        """A hash of images, labels and ids: the same examples have the same fingerprint on every machine."""
        digest = hashlib.sha256()
        for part in (self.images, self.labels.long(), self.ids.long()):
            digest.update(f"{part.dtype}{tuple(part.shape)}".encode())
            digest.update(part.contiguous().cpu().numpy().tobytes())
        return digest.hexdigest()


@dataclass(frozen=True)
class Data:
    """A loaded data set: three parts that share no image."""

    train: Examples
    calibrate: Examples
    judge: Examples
    source: str = ""
    """Where it was read from, in words."""
    partial: str = ""
    """What is missing against the official set, in words; empty when nothing is."""


@dataclass(frozen=True)
class DataFolders:
    """Folders to look into, in order, and whether a download is allowed."""

    folders: tuple[Path, ...] = ()
    download: bool = True

    @classmethod
    def default(cls, extra: Iterable[str | Path] = ()) -> DataFolders:
        """What `--data` names, then `ADVBENCH_DATA` (a list like PATH), then `./data`."""
        named = [Path(p).expanduser() for p in extra]
        named += [Path(p).expanduser() for p in os.environ.get(DATA_VARIABLE, "").split(os.pathsep) if p]
        return cls((*named, Path("data")))

    def find(self, *names: str) -> Path | None:
        """The first of the relative names that exists in a folder."""
        paths = (folder / name for folder in self.folders for name in names)
        return next((path for path in paths if path.exists()), None)
