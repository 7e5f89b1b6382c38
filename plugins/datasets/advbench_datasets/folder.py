"""Photos of one's own, a folder for each class."""

from __future__ import annotations

import hashlib
import warnings
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError

from advbench import AdvbenchError, Data, DataFolders, Dataset, Examples, at_least
from advbench.errors import one_line
from advbench_datasets.own import MOST_BYTES, absent, inside, listed

FORMATS = ("PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP", "PPM")
SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm")
MOST_PIXELS = 50_000_000
SKIPPED = ("thumbs.db", "desktop.ini")
"""What file managers leave behind, beside names that begin with a dot."""


@dataclass(frozen=True)
class Folder(Dataset):
    """Images by class: of each class a fifth to judge, a tenth to calibrate, the rest to train; split by content."""

    name = "folder"
    reference = ""
    shape = (3, 64, 64)
    class_names = ("first", "second")  # until some are listed
    publishable = False

    path: str = ""
    class_folders: tuple[str, ...] = field(default=(), metadata={"parameter": "classes"})
    size: int = at_least(1, default=64)
    grey: bool = False
    publish: bool = False  # whether pictures may be shown and handed on

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.path or self.class_folders:
            inside(self.name, "path", self.path)
            for one in listed(self.name, self.class_folders):
                if not one or one in (".", "..") or "/" in one or "\\" in one:
                    raise AdvbenchError(f"{self.name}: classes are the names of folders in path, and {one!r} is none")
            object.__setattr__(self, "class_names", self.class_folders)
        object.__setattr__(self, "publishable", self.publish)
        object.__setattr__(self, "shape", (1 if self.grey else 3, self.size, self.size))

    def find(self, folders: DataFolders) -> str | None:
        path = self._place(folders)
        return str(path) if path else None

    def _place(self, folders: DataFolders) -> Path | None:
        places = (folder / self.path for folder in folders.folders) if self.path else ()
        return next((place for place in places if place.is_dir()), None)

    def load(self, folders: DataFolders) -> Data:
        if not self.path:
            raise AdvbenchError(f"{self.name}: say which, as in folder(path=flowers, classes=[daisy, rose])")
        root = self._place(folders)
        if root is None:
            raise absent(self.label, self.path, folders)
        files = self._files(root)
        if len(files) * self.shape[0] * self.size**2 > MOST_BYTES:
            raise AdvbenchError(
                f"{self.name}: {len(files)} images of size={self.size} don't fit; choose a smaller size"
            )
        known: dict[str, tuple[int, np.ndarray]] = {}
        for label, path in files:
            pixels = self._decode(path)
            digest = hashlib.sha256(pixels.tobytes()).hexdigest()
            if known.setdefault(digest, (label, pixels))[0] != label:
                first, second = (self.class_names[each] for each in (known[digest][0], label))
                raise AdvbenchError(f"{self.name}: {path} is in {first} and in {second}; keep it in one of them")
        return self._split(known, len(files), self.path)  # no folder of this machine goes into a database

    def _files(self, root: Path) -> list[tuple[int, Path]]:
        there = {path.name for path in root.iterdir() if path.is_dir() and not path.name.startswith(".")}
        if more := sorted(there - set(self.class_names)):
            raise AdvbenchError(f"{self.name}: {root} also holds {more[0]!r}; add it to classes, or move it away")
        files = []
        for label, name in enumerate(self.class_names):
            if name not in there:
                raise AdvbenchError(f"{self.name}: {root} has no folder {name!r}; it has {', '.join(sorted(there))}")
            paths = sorted(path for path in (root / name).rglob("*") if path.is_file() and not _left_behind(path))
            if not paths:
                raise AdvbenchError(f"{self.name}: {root / name} holds no image; put some there, or drop the class")
            files += [(label, path) for path in paths]
        return files

    def _decode(self, path: Path) -> np.ndarray:
        """The middle of the upright image, brought to the size; what is transparent becomes white."""
        if path.suffix.lower() not in SUFFIXES:
            raise AdvbenchError(f"{self.name}: {path} is not called an image ({', '.join(SUFFIXES)}); move it away")
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of odd metadata, and of sizes, which are held below
                with Image.open(path, formats=FORMATS) as image:
                    if image.width * image.height > MOST_PIXELS:
                        raise AdvbenchError(
                            f"{self.name}: {path} has {image.width} × {image.height} pixels, more than "
                            f"{MOST_PIXELS:,}; make it smaller, or move it away"
                        )
                    if getattr(image, "n_frames", 1) > 1:
                        raise AdvbenchError(f"{self.name}: {path} has several frames; save the one that is meant")
                    if image.mode[0] in "IF":
                        raise AdvbenchError(f"{self.name}: {path} has more than 8 bits a channel; save it with 8")
                    return self._brought(ImageOps.exif_transpose(image))
        except (
            OSError,
            ValueError,
            SyntaxError,
            EOFError,
            UnidentifiedImageError,
            Image.DecompressionBombError,
        ) as error:
            raise AdvbenchError(
                f"{self.name}: {path} can't be read ({one_line(error)}); save it again as PNG, or move it away"
            ) from error

    def _brought(self, image: Image.Image) -> np.ndarray:
        if "transparency" in image.info or image.mode in ("LA", "PA", "La", "RGBA", "RGBa"):
            clear = image.convert("RGBA")
            image = Image.alpha_composite(Image.new("RGBA", clear.size, "white"), clear)
        image = image.convert("L" if self.grey else "RGB")
        side = min(image.size)
        left, top = (image.width - side) // 2, (image.height - side) // 2
        image = image.crop((left, top, left + side, top + side))
        image = image.resize((self.size, self.size), Image.Resampling.BILINEAR)
        pixels = np.asarray(image, np.uint8).reshape(self.size, self.size, self.shape[0])
        return np.ascontiguousarray(pixels.transpose(2, 0, 1))

    def _split(self, known: dict[str, tuple[int, np.ndarray]], count: int, source: str) -> Data:
        """By digest, so that neither names of files nor their order matter, and equal images count once."""
        order = sorted(known)
        labels = torch.tensor([known[digest][0] for digest in order])
        images = torch.from_numpy(np.stack([known[digest][1] for digest in order]))
        everything = Examples(images, labels, torch.arange(len(order)))
        part = torch.zeros(len(order), dtype=torch.long)
        for label in range(self.classes):
            rows = torch.nonzero(labels == label).flatten()
            judged, held = max(1, len(rows) // 5), len(rows) // 10
            part[rows[:judged]], part[rows[judged : judged + held]] = 2, 1
        twice = count - len(order)
        train, calibrate, judge = (everything[part == number] for number in range(3))
        return Data(train, calibrate, judge, source, f"{twice} images are there twice, and count once" if twice else "")


def _left_behind(path: Path) -> bool:
    return path.name.startswith(".") or path.name.lower() in SKIPPED
