"""What every data set must be, where it is on this machine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property, partial

import numpy as np
import torch

from advbench.data import Data, DataFolders, Examples
from advbench.plugin import Dataset
from advbench.testing.check import Check, NotHere, demand


class Loaded:
    """A data set, read when it is first asked for."""

    def __init__(self, dataset: Dataset, folders: DataFolders) -> None:
        self.dataset, self.folders = dataset, folders

    def read(self) -> Data:
        if self.dataset.find(self.folders) is None:
            raise NotHere(f"{self.dataset.label} is not on this machine (see `advbench data`)")
        data = self.dataset.load(self.folders)
        demand(isinstance(data, Data), f"`load` returned {type(data).__name__}, not Data")
        return data

    @cached_property
    def data(self) -> Data:
        return self.read()

    @property
    def parts(self) -> dict[str, Examples]:
        return {"train": self.data.train, "calibrate": self.data.calibrate, "judge": self.data.judge}


def dataset_checks(dataset: Dataset, folders: DataFolders) -> Iterator[Check]:
    loaded = Loaded(dataset, folders)
    for what, trial in TRIALS.items():
        yield Check(dataset.label, what, partial(trial, loaded))


def has_the_shape_it_declares(loaded: Loaded) -> None:
    demand(len(loaded.data.judge) > 0, "has nothing to judge")
    for name, part in loaded.parts.items():
        x = part.images
        shape = tuple(x.shape[1:])
        demand(shape == loaded.dataset.shape, f"{name}: images of {shape}, but `shape` = {loaded.dataset.shape}")
        demand(len(x) == len(part.labels) == len(part.ids), f"{name}: images, labels and ids differ in number")
        demand(x.dtype in (torch.uint8, torch.float32), f"{name}: images in {x.dtype}, not uint8 or float32")
        inside = x.dtype == torch.uint8 or not len(x) or (float(x.min()) >= 0 and float(x.max()) <= 1)
        demand(inside, f"{name}: pixels outside [0, 1]; leave normalising to the models")


def has_labels_of_its_classes(loaded: Loaded) -> str | None:
    for name, part in loaded.parts.items():
        known = bool(((part.labels >= 0) & (part.labels < loaded.dataset.classes)).all())
        demand(known, f"{name}: labels outside 0 to {loaded.dataset.classes - 1}, the places in `class_names`")
    missing = set(range(loaded.dataset.classes)) - set(loaded.data.judge.labels.tolist())
    return f"nothing to judge of {len(missing)} classes" if missing else None


def has_ids_of_its_own(loaded: Loaded) -> None:
    for name, part in loaded.parts.items():
        demand(len(torch.unique(part.ids)) == len(part), f"{name}: ids repeat; draws are keyed by them")


def judges_on_images_that_nobody_has_seen(loaded: Loaded) -> None:
    seen = {name: _contents(part) for name, part in loaded.parts.items()}
    for one, other in (("train", "calibrate"), ("train", "judge"), ("calibrate", "judge")):
        shared = len(seen[one] & seen[other])
        demand(not shared, f"{shared} images are in both {one} and {other}; split once and for all, by content")


def _contents(part: Examples) -> set[bytes]:
    rows = np.ascontiguousarray(part.images.reshape(len(part), -1).numpy())
    return {row.tobytes() for row in rows}


def reads_the_same_twice(loaded: Loaded) -> None:
    before = loaded.parts
    torch.rand(7)  # so that what was drawn from torch's generator would be something else
    again = loaded.read()
    for name, part in before.items():
        same = part.fingerprint == getattr(again, name).fingerprint
        demand(same, f"{name}: read twice, it differs; fix order and split")


TRIALS: dict[str, Callable[[Loaded], str | None]] = {
    "has-the-shape-it-declares": has_the_shape_it_declares,
    "has-labels-of-its-classes": has_labels_of_its_classes,
    "has-ids-of-its-own": has_ids_of_its_own,
    "judges-on-images-that-nobody-has-seen": judges_on_images_that_nobody_has_seen,
    "reads-the-same-twice": reads_the_same_twice,
}
