"""What every data set must be, where it is on this machine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property, partial
from itertools import combinations

import torch

from advbench.data import Data, DataFolders
from advbench.plugin import Dataset
from advbench.plugins import data_intake
from advbench.testing.check import Check, NotHere, NotTriedError, demand

FORM = "has-the-shape-it-declares"
"""The check of kinds, shapes and pixels; the others only try what has passed it."""


class Loaded:
    """A data set, read when it is first asked for."""

    def __init__(self, dataset: Dataset, folders: DataFolders) -> None:
        self.dataset, self.folders = dataset, folders

    def read(self) -> Data:
        if data_intake.place(self.dataset, self.folders) is None:
            raise NotHere(f"{self.dataset.label} is not on this machine (see `advbench data`)")
        return data_intake.read(self.dataset, self.folders)

    @cached_property
    def data(self) -> Data:
        return self.read()

    @cached_property
    def sound(self) -> Data:
        """What has the due form, which the checks beyond form count on."""
        if data_intake.wrong_form(self.dataset, self.data):
            raise NotTriedError(f"see {FORM}")
        return self.data


def dataset_checks(dataset: Dataset, folders: DataFolders) -> Iterator[Check]:
    loaded = Loaded(dataset, folders)
    for what, trial in TRIALS.items():
        yield Check(dataset.label, what, partial(trial, loaded))


def has_the_shape_it_declares(loaded: Loaded) -> None:
    refuse(data_intake.wrong_form(loaded.dataset, loaded.data))


def has_labels_of_its_classes(loaded: Loaded) -> str | None:
    refuse(data_intake.wrong_labels(loaded.dataset, loaded.sound))
    missing = set(range(loaded.dataset.classes)) - set(loaded.sound.judge.labels.tolist())
    return f"nothing to judge of {len(missing)} classes" if missing else None


def has_ids_of_its_own(loaded: Loaded) -> None:
    refuse(data_intake.wrong_ids(loaded.dataset, loaded.sound))


def judges_on_images_that_nobody_has_seen(loaded: Loaded) -> None:
    for one, other in combinations(data_intake.PARTS, 2):
        shared = data_intake.shared_images(loaded.sound, one, other)
        demand(not shared, f"{shared} images are in both {one} and {other}; split once and for all, by content")


def reads_the_same_twice(loaded: Loaded) -> None:
    before = data_intake.parts_of(loaded.sound)
    torch.rand(7)  # so that what was drawn from torch's generator would be something else
    again = loaded.read()
    for name, part in before.items():
        same = part.fingerprint == getattr(again, name).fingerprint
        demand(same, f"{name}: read twice, it differs; fix order and split")


def refuse(problem: str) -> None:
    demand(not problem, problem)


TRIALS: dict[str, Callable[[Loaded], str | None]] = {
    FORM: has_the_shape_it_declares,
    "has-labels-of-its-classes": has_labels_of_its_classes,
    "has-ids-of-its-own": has_ids_of_its_own,
    "judges-on-images-that-nobody-has-seen": judges_on_images_that_nobody_has_seen,
    "reads-the-same-twice": reads_the_same_twice,
}
