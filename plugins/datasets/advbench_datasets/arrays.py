"""Images of one's own as arrays in an `.npz` file."""

from __future__ import annotations

import zipfile
import zlib
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from advbench import AdvbenchError, Data, DataFolders, Dataset, Examples
from advbench.errors import one_line
from advbench_datasets.own import MOST_BYTES, absent, inside, listed


@dataclass(frozen=True)
class Arrays(Dataset):
    """`x_test`, `y_test` to judge; `x_train`, `y_train`, if there, to train, but for the last tenth, to calibrate."""

    name = "arrays"
    reference = ""
    shape = (3, 32, 32)
    class_names = ("first", "second")  # until some are listed
    publishable = False

    file: str = ""
    class_list: tuple[str, ...] = field(default=(), metadata={"parameter": "classes"})
    sides: tuple[int, int, int] = field(default=(3, 32, 32), metadata={"parameter": "size"})
    publish: bool = False  # whether pictures may be shown and handed on

    def __post_init__(self) -> None:
        super().__post_init__()
        if min(self.sides) < 1:
            raise AdvbenchError(f"{self.name}: size is [channels, height, width], each at least 1")
        if self.file or self.class_list:
            inside(self.name, "file", self.file)
            object.__setattr__(self, "class_names", listed(self.name, self.class_list))
        object.__setattr__(self, "publishable", self.publish)
        object.__setattr__(self, "shape", self.sides)

    def find(self, folders: DataFolders) -> str | None:
        path = folders.find(self.file) if self.file else None
        return str(path) if path else None

    def load(self, folders: DataFolders) -> Data:
        if not self.file:
            raise AdvbenchError(f"{self.name}: say which, as in arrays(file=cells.npz, classes=[ill, well])")
        found = self.find(folders)
        if found is None:
            raise absent(self.label, self.file, folders)
        parts = self._read(Path(found))
        judge = self._examples(*parts["test"], "test", found)
        train = self._examples(*parts["train"], "train", found) if "train" in parts else judge[:0]
        first = len(train) - len(train) // 10
        return Data(
            train[:first], train[first:], judge, source=self.file
        )  # no folder of this machine goes into a database

    def _read(self, path: Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        try:
            with zipfile.ZipFile(path) as archive:
                claimed = sum(entry.file_size for entry in archive.infolist())
            if claimed > MOST_BYTES:
                raise AdvbenchError(
                    f"{self.name}: {path} unpacks to {claimed / 2**30:.0f} GiB; keep fewer images in it"
                )
            with np.load(path, allow_pickle=False) as file:
                kinds = [kind for kind in ("train", "test") if kind == "test" or "x_train" in file]
                missing = [key for kind in kinds for key in (f"x_{kind}", f"y_{kind}") if key not in file]
                if missing:
                    raise AdvbenchError(f"{self.name}: {path} lacks {', '.join(missing)}; it holds {', '.join(file)}")
                return {kind: (file[f"x_{kind}"], file[f"y_{kind}"]) for kind in kinds}
        except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error) as error:
            raise AdvbenchError(
                f"{self.name}: {path} can't be read ({one_line(error)}); write it with numpy.savez, without objects"
            ) from error

    def _examples(self, images: np.ndarray, labels: np.ndarray, kind: str, where: str) -> Examples:
        channels, height, width = self.shape
        if images.ndim == 3:
            images = images[..., None]
        if images.shape[1:] != (height, width, channels) or images.dtype != np.uint8:
            raise AdvbenchError(
                f"{self.name}: x_{kind} in {where} is {images.dtype} of {images.shape}, not uint8 of "
                f"(images, {height}, {width}, {channels}); convert it, or say size=[channels, height, width]"
            )
        if labels.shape != (len(images),) or not np.issubdtype(labels.dtype, np.integer):
            raise AdvbenchError(f"{self.name}: y_{kind} in {where} is not one whole number for each image; convert it")
        return Examples(
            torch.from_numpy(images.transpose(0, 3, 1, 2).copy()),
            torch.from_numpy(labels.astype(np.int64)),
            torch.arange(len(images)),
        )
