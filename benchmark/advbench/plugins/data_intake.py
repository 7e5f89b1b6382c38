"""Data sets on their way in: loaded, and held against the contract before anything is judged on them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from advbench.data import Data, DataFolders, Examples
from advbench.errors import PluginError
from advbench.plugin import Dataset
from advbench.plugins.foreign import attributed

PARTS = ("train", "calibrate", "judge")
INTEGERS = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)


def load(dataset: Dataset, folders: DataFolders) -> Data:
    """The data set, refused in one line where it breaks the contract; the one door through which data come in."""
    data = read(dataset, folders)
    for fault in FAULTS:
        if problem := fault(dataset, data):
            raise PluginError(f"{dataset.label}: {problem}; `advbench check '{dataset.label}'` tries all of it")
    return data


def read(dataset: Dataset, folders: DataFolders) -> Data:
    """The data that a data set's `load` returns, held to be `Data` and nothing more."""
    with attributed(f"{dataset.label}: `load` failed"):
        data: object = dataset.load(folders)
    if not isinstance(data, Data):
        raise PluginError(f"{dataset.label}: `load` returned {type(data).__name__}, not advbench.Data")
    return data


def place(dataset: Dataset, folders: DataFolders) -> str | None:
    """Where a data set is on this machine, in words; None where it is not."""
    with attributed(f"{dataset.label}: `find` failed"):
        where: object = dataset.find(folders)
    if where is not None and not isinstance(where, str):
        raise PluginError(f"{dataset.label}: `find` returned {type(where).__name__}, not a text or None")
    return where


def parts_of(data: Data) -> dict[str, Examples]:
    return {name: getattr(data, name) for name in PARTS}


def wrong_form(dataset: Dataset, data: Data) -> str:
    """What is wrong with kinds, shapes and pixels; empty where nothing is."""
    for name, part in parts_of(data).items():
        if problem := _wrong_tensors(part) or _wrong_images(part.images, dataset.shape):
            return f"{name}: {problem}"
    if not isinstance(data.source, str) or not isinstance(data.partial, str):
        return "`source` and `partial` are texts"
    return "" if len(data.judge) else "there is nothing to judge; the part `judge` is empty"


def _wrong_tensors(part: Examples) -> str:
    if not isinstance(part, Examples):
        return f"it is {type(part).__name__}, not advbench.Examples"
    held = {"images": part.images, "labels": part.labels, "ids": part.ids}
    for name, value in held.items():
        if not isinstance(value, Tensor):
            return f"{name} are {type(value).__name__}, not a tensor; torch.from_numpy makes one of an array"
    for name in ("labels", "ids"):
        if held[name].ndim != 1 or held[name].dtype not in INTEGERS:
            return f"{name} are {held[name].dtype} of {tuple(held[name].shape)}, not one whole number for each image"
    if not len(part.images) == len(part.labels) == len(part.ids):
        return f"{len(part.images)} images, {len(part.labels)} labels and {len(part.ids)} ids; give one for each image"
    return ""


def _wrong_images(images: Tensor, shape: tuple[int, int, int]) -> str:
    if tuple(images.shape[1:]) != tuple(shape):
        return f"images of {tuple(images.shape[1:])}, but `shape` = {shape}; declare what `load` gives"
    if images.dtype not in (torch.uint8, torch.float32):
        return f"images in {images.dtype}, not uint8, or float32 in [0, 1]; convert them"
    if images.dtype == torch.uint8 or not images.numel():
        return ""
    low, high = (float(end) for end in images.aminmax())
    if not (low >= 0 and high <= 1):
        pixels = f"pixels from {low:.3g} to {high:.3g}" if low == low else "pixels that are NaN"
        return f"{pixels}, outside [0, 1]; leave normalising to the models"
    return ""


def wrong_labels(dataset: Dataset, data: Data) -> str:
    for name, part in parts_of(data).items():
        if not bool(((part.labels >= 0) & (part.labels < dataset.classes)).all()):
            return f"{name}: labels outside 0 to {dataset.classes - 1}, the places in `class_names`"
    return ""


def wrong_ids(dataset: Dataset, data: Data) -> str:
    for name, part in parts_of(data).items():
        if (twice := len(part) - len(torch.unique(part.ids))) > 0:
            return f"{name}: {twice} ids repeat; an id stands for one image, draws and outcomes are kept under it"
    return ""


def calibrated_on_judged(dataset: Dataset, data: Data) -> str:
    """Whether a threshold would be set on what is judged; a thousandth may be the same by chance, as in official sets.

    By content: ids are numbered within a part, so that two parts may well have the same ones.
    """
    shared = shared_images(data, "calibrate", "judge")
    if shared <= len(data.judge) // 1000:
        return ""
    return f"{shared} images are in both calibrate and judge; split once and for all, by content"


def shared_images(data: Data, one: str, other: str) -> int:
    """How many images two parts have in common."""
    first, second = getattr(data, one), getattr(data, other)
    raw = first.images.dtype == second.images.dtype
    return len(set(_contents(first, raw)) & set(_contents(second, raw)))


def _contents(part: Examples, raw: bool) -> Iterator[bytes]:
    """A short digest of each image; of its pixels where the other part holds them in another kind of number."""
    for first in range(0, len(part), 1024):
        some = part[first : first + 1024]
        images = some.images.detach().cpu() if raw else some.pixels()
        for row in images.contiguous().numpy():
            yield hashlib.blake2b(row, digest_size=16).digest()


FAULTS: tuple[Callable[[Dataset, Data], str], ...] = (wrong_form, wrong_labels, wrong_ids, calibrated_on_judged)
"""Checks of an example's parts, in this order: the later ones count on what the earlier ones have found in order."""
