"""Photos of ImageNet's classes for a network that knows all 1,000, read from a file that nobody may hand on.

The photos belong to their photographers, and ImageNet grants access for research and education alone. So none is in
advbench, none is downloaded, and what a run makes of them is not published (`publishable`).
"""

from __future__ import annotations

import zipfile
import zlib
from dataclasses import dataclass
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import numpy as np
import torch

from advbench import AdvbenchError, Data, DataFolders, Dataset, Examples

ARRAYS = ("imagenet_samples/imagenet_samples.npz", "imagenet_samples.npz")
KNOWN = "100 photos, one for every tenth class, of ImageNet's training pictures as far as is known: none to train on"


def class_names() -> tuple[str, ...]:
    """The 1,000 classes, as torchvision calls them; from its file of names, since importing torchvision takes a second.

    Where that file is another one day, torchvision is asked as it wants to be.
    """
    package = find_spec("torchvision")
    folders = (package.submodule_search_locations if package else None) or ()
    for path in (Path(folder) / "models/_meta.py" for folder in folders):
        spec = spec_from_file_location("advbench_datasets.names_of_torchvision", path) if path.is_file() else None
        if spec and spec.loader:
            names = module_from_spec(spec)
            spec.loader.exec_module(names)
            if found := getattr(names, "_IMAGENET_CATEGORIES", None):
                return tuple(found)
    return official_names()


def official_names() -> tuple[str, ...]:
    from torchvision.models import ResNet18_Weights

    return tuple(ResNet18_Weights.DEFAULT.meta["categories"])


@dataclass(frozen=True)
class ImagenetSamples(Dataset):
    """Photos of 224 × 224 pixels, 100 in the file that is known: all of them to judge, none to train or calibrate."""

    name = "imagenet-samples"
    reference = "Russakovsky et al., 2015, arXiv:1409.0575"
    shape = (3, 224, 224)
    class_names = class_names()
    mirrorable = True
    publishable = False

    def find(self, folders: DataFolders) -> str | None:
        path = folders.find(*ARRAYS)
        return str(path) if path else None

    def load(self, folders: DataFolders) -> Data:
        path = folders.find(*ARRAYS)
        if path is None:
            looked = ", ".join(str(folder) for folder in folders.folders) or "no folder at all"
            raise AdvbenchError(
                f"{self.name}: not on this machine, and not to be downloaded; looked in {looked} for "
                f"{' and '.join(ARRAYS)}; name the folder that has it with --data or ADVBENCH_DATA"
            )
        photos = self._read(path)
        return Data(photos[:0], photos[:0], photos, source=str(path), partial=KNOWN if len(photos) == 100 else "")

    def _read(self, path: Path) -> Examples:
        try:
            with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
                images, labels = file["x_test"], file["y_test"]
        except (OSError, EOFError, ValueError, KeyError, IndexError, zipfile.BadZipFile, zlib.error) as error:
            reason = " ".join(str(error).split())[:200] or type(error).__name__
            raise AdvbenchError(f"{self.name}: {path} is damaged ({reason}); get it again") from error
        if problem := self._wrong(images, labels):
            raise AdvbenchError(f"{self.name}: {path}: {problem}")
        return Examples(
            torch.from_numpy(images.transpose(0, 3, 1, 2).copy()),
            torch.from_numpy(labels.astype(np.int64)),
            torch.arange(len(labels)),
        )

    def _wrong(self, images: np.ndarray[Any, Any], labels: np.ndarray[Any, Any]) -> str:
        channels, height, width = self.shape
        if images.shape[1:] != (height, width, channels) or images.dtype != np.uint8:
            return f"x_test is {images.dtype} of {images.shape}, not uint8 of (photos, {height}, {width}, {channels})"
        if labels.shape != (len(images),) or not np.issubdtype(labels.dtype, np.integer):
            return f"{len(images)} photos, and y_test is {labels.dtype} of {labels.shape}; give each its class"
        if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < self.classes:
            return f"y_test names classes beyond 0 to {self.classes - 1}"
        return ""
