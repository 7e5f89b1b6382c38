"""Plugins that err in every place where they are asked, in every way that Python knows: for tests alone."""

from __future__ import annotations

import signal
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from advbench_toys import Blots, network
from torch import Tensor, nn

from advbench import Access, Attack, Data, DataFolders, Dataset, Defense, Examples, Model, Problem, Recipe, hookimpl


class MuteError(Exception):
    """Can't even say what it is."""

    def __str__(self) -> str:
        raise RuntimeError("no words")


class HardenedMuteError(RuntimeError):
    """Ends the program when somebody asks what it is."""

    def __str__(self) -> str:
        sys.exit(0)


def err(how: str) -> Any:
    if how == "exit":
        sys.exit(0)
    if how == "bare":
        raise BaseException("no more")
    if how == "close":
        raise GeneratorExit
    if how == "number":
        return 3  # what no question is answered with
    if how == "interrupt":
        raise KeyboardInterrupt
    if how == "pressed":  # as a person would, and again, so that nothing is waited for
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
    if how == "tidy":  # what a person has stopped, told by another error of the same kind
        try:
            err("pressed")
        except KeyboardInterrupt:
            raise KeyboardInterrupt("tidied up") from None
    if how == "hangs":
        Path("hanging").touch()
        time.sleep(600)
    if how == "mute":
        raise MuteError
    if how == "muter":
        raise HardenedMuteError
    raise ValueError("plainly wrong")


class Erring(nn.Module):
    """Answers so many times, then errs."""

    def __init__(self, net: nn.Module, how: str, after: int) -> None:
        super().__init__()
        self.net, self.how, self.left = net, how, after

    def forward(self, x: Tensor) -> Tensor:
        if self.left <= 0:
            err(self.how)
        self.left -= 1
        logits: Tensor = self.net(x)
        return logits


@dataclass(frozen=True)
class ErringModel(Model):
    """Errs when it is built or asked."""

    name = "erring"

    where: str = "build"
    how: str = "exit"
    after: int = 0

    def why_not(self, dataset: Dataset) -> str | None:
        return err(self.how) if self.where == "why_not" else None  # type: ignore[no-any-return]

    def build(self, dataset: Dataset) -> nn.Module:
        if self.where == "build":
            err(self.how)
        return Erring(network(0, 1.0), self.how, self.after)

    def recipe(self, dataset: Dataset) -> Recipe | None:
        return None


@dataclass(frozen=True)
class ErringDefense(Defense):
    """Errs when it wraps a network or is asked for its suspicion."""

    name = "erring-defense"
    detects = True
    differentiable = True

    where: str = "wrap"
    how: str = "exit"

    def why_not(self, dataset: Dataset) -> str | None:
        return err(self.how) if self.where == "why_not" else None  # type: ignore[no-any-return]

    def wrap(self, net: nn.Module, calibrate: Examples) -> nn.Module:
        if self.where == "wrap":
            err(self.how)
        return net

    def suspicion(self, net: nn.Module, images: Tensor) -> Tensor:
        err(self.how)
        return images.flatten(1).mean(1)


@dataclass(frozen=True)
class ErringAttack(Attack):
    """Errs when it perturbs, or when it is asked about itself."""

    name = "erring-attack"
    threats = frozenset({"linf"})
    needs = Access.LABELS

    where: str = "perturb"
    how: str = "exit"

    def passes(self, classes: int) -> int | None:
        if self.where == "passes":
            err(self.how)
        return 1

    def content(self) -> str:
        if self.where == "content":
            err(self.how)
        return ""

    def perturb(self, problem: Problem) -> Tensor:
        if self.where == "perturb":
            err(self.how)
        return problem.start()


def _of(data: Data, **parts: Any) -> Data:
    return replace(data, judge=replace(data.judge, **parts))


BROKEN: dict[str, Any] = {
    "none": lambda data: None,
    "numpy": lambda data: data.judge.images.numpy(),
    "numpy images": lambda data: _of(data, images=data.judge.images.numpy()),
    "no examples": lambda data: replace(data, calibrate=data.calibrate.images),
    "normalised": lambda data: _of(data, images=data.judge.images * 4 - 2),
    "bytes as float": lambda data: _of(data, images=data.judge.images * 255),
    "integers": lambda data: _of(data, images=(data.judge.images * 255).long()),
    "doubles": lambda data: _of(data, images=data.judge.images.double()),
    "nan": lambda data: _of(data, images=data.judge.images.masked_fill(data.judge.images > 0.8, float("nan"))),
    "shape": lambda data: _of(data, images=data.judge.images.flatten(1)),
    "another shape": lambda data: _of(data, images=data.judge.images[..., :7]),
    "ids twice": lambda data: _of(data, ids=data.judge.ids // 2),
    "labels beyond": lambda data: _of(data, labels=data.judge.labels + 1),
    "labels below": lambda data: _of(data, labels=data.judge.labels - 1),
    "float labels": lambda data: _of(data, labels=data.judge.labels.float()),
    "too few labels": lambda data: _of(data, labels=data.judge.labels[:4]),
    "empty": lambda data: replace(data, judge=data.judge[:0]),
    "calibrated on judged": lambda data: replace(data, calibrate=replace(data.judge, ids=data.judge.ids + 900)),
    "calibrated on one": lambda data: replace(
        data, calibrate=replace(data.calibrate, images=torch.cat([data.calibrate.images[:-1], data.judge.images[3:4]]))
    ),
    "calibrated on bytes": lambda data: Data(
        data.train,
        replace(data.judge, images=(data.judge.images * 255).round().to(torch.uint8)),
        replace(data.judge, images=(data.judge.images * 255).round() / 255),
    ),
    "numpy source": lambda data: replace(data, source=np.float32(3)),
}


@dataclass(frozen=True)
class ErringData(Blots):
    """Errs when it is loaded or looked for, or gives what is no data set."""

    name = "erring-data"

    where: str = "load"
    how: str = "exit"

    def load(self, folders: DataFolders) -> Data:
        if self.where == "load":
            err(self.how)
        data = super().load(folders)
        broken: Data = BROKEN[self.how](data) if self.where == "gives" else data
        return broken

    def find(self, folders: DataFolders) -> str:
        if self.where == "find":
            err(self.how)
        return "made here"


@hookimpl
def advbench_datasets() -> list[Dataset]:
    return [ErringData()]


@hookimpl
def advbench_models() -> list[Model]:
    return [ErringModel()]


@hookimpl
def advbench_attacks() -> list[Attack]:
    return [ErringAttack()]


@hookimpl
def advbench_defenses() -> list[Defense]:
    return [ErringDefense()]
