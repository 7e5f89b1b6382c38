"""The Python door: any `torch.nn.Module` on tensors or a data set, with the referee and the numbers of the CLI."""

from __future__ import annotations

import copy
import hashlib
import inspect
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from advbench.data import Data, DataFolders, Examples
from advbench.errors import AdvbenchError
from advbench.hardware import choose_device
from advbench.plot import bars
from advbench.plugin import Attack, Dataset, Defense, Model
from advbench.recipe import Recipe
from advbench.registry import Registry, discover
from advbench.report import Reporter
from advbench.run import Settings, run
from advbench.store import Store
from advbench.suite import suite_from_mapping
from advbench.threats import Threat

Images = Tensor | np.ndarray[Any, Any]


@dataclass(frozen=True)
class GivenModel(Model):
    """A network that somebody brought, as it is."""

    name: ClassVar[str] = "given"

    title: str = "model"
    digest: str = ""
    """What the network is made of, so that two architectures with equal weights are two models."""

    @classmethod
    def of(cls, net: nn.Module, title: str) -> GivenModel:
        model = cls(title, _digest(net))
        object.__setattr__(model, "_net", net)
        return model

    @property
    def label(self) -> str:
        return self.title

    def build(self, dataset: Dataset) -> nn.Module:
        return copy.deepcopy(self._net)

    def recipe(self, dataset: Dataset) -> Recipe | None:
        return None

    _net: ClassVar[nn.Module]


@dataclass(frozen=True)
class GivenData(Dataset):
    """Images that somebody brought."""

    name: ClassVar[str] = "given"

    fingerprint: str = ""

    @classmethod
    def of(cls, images: Images, labels: Images, classes: int, calibrate: tuple[Images, Images] | None) -> GivenData:
        judge = _examples(images, labels)
        held_out = _examples(*calibrate) if calibrate else judge[:0]
        data = cls(judge.fingerprint[:12])
        channels, height, width = judge.images.shape[1:]
        values = {
            "shape": (channels, height, width),
            "class_names": tuple(str(k) for k in range(classes)),
            "_data": Data(judge[:0], held_out, judge, "tensors in memory"),
        }
        for name, value in values.items():
            object.__setattr__(data, name, value)
        return data

    @property
    def label(self) -> str:
        return "given"

    def load(self, folders: DataFolders) -> Data:
        return self._data

    def find(self, folders: DataFolders) -> str | None:
        return "tensors in memory"

    _data: ClassVar[Data]


@dataclass(frozen=True)
class Evaluation:
    """What was found; prints as a table, shows as a picture in a notebook."""

    store: Store
    failed: tuple[tuple[str, str], ...]

    @property
    def rates(self) -> list[dict[str, Any]]:
        """A row per board, target and attack: accuracy under it with its interval."""
        return self.store.rates("attack_accuracy")

    @property
    def robust_accuracy(self) -> dict[str, float | None]:
        """By board: the share right when clean and under every attack; None where one of them failed."""
        return {row["board_name"]: row["accuracy"] for row in self.store.rates("robust_accuracy")}

    @property
    def clean_accuracy(self) -> float:
        return float(self.store.rates("clean_accuracy")[0]["accuracy"])

    def plot(self) -> Picture:
        """Accuracy on clean images, under each attack and in the worst case."""
        return Picture(bars(self._bars(), title="Accuracy under attack, with 95 % intervals"))

    def _bars(self) -> list[tuple[str, float, float, float]]:
        rows = [("clean images", row) for row in self.store.rates("clean_accuracy")[:1]]
        rows += [(f"{row['board_name']}: {row['entrant']}", row) for row in self.rates]
        rows += [
            (f"{row['board_name']}: worst case", row)
            for row in self.store.rates("robust_accuracy")
            if row["accuracy"] is not None
        ]
        return [(name, row["accuracy"], row["accuracy_low"], row["accuracy_high"]) for name, row in rows]

    def __str__(self) -> str:
        from rich.console import Console

        from advbench.cli.tables import board_tables

        console = Console(width=120, no_color=True)
        with console.capture() as captured:
            for table in board_tables(self.store):
                console.print(table)
            for label, reason in self.failed:
                console.print(f"failed: {label}: {reason}", markup=False)
        return captured.get().rstrip()

    def _repr_html_(self) -> str:
        return self.plot().svg


@dataclass(frozen=True)
class Picture:
    """An SVG that notebooks show."""

    svg: str

    def _repr_svg_(self) -> str:
        return self.svg

    def save(self, path: str | Path) -> Path:
        path = Path(path)
        path.write_text(self.svg, encoding="utf-8")
        return path


def evaluate(
    model: nn.Module | Model | str,
    images: Images | None = None,
    labels: Images | None = None,
    *,
    dataset: Dataset | str | None = None,
    threats: Sequence[Threat | str],
    attacks: Sequence[Attack | str] = ("fgsm", "pgd"),
    defenses: Sequence[Defense | str] = ("none",),
    goals: Sequence[str] = ("untargeted",),
    examples: int | None = None,
    calibrate: tuple[Images, Images] | None = None,
    seed: int = 0,
    stop: str = "first",
    device: str = "auto",
    batch_size: int | None = None,
    db: str | Path | None = None,
    data: Iterable[str | Path] = (),
    registry: Registry | None = None,
    reporter: Reporter | None = None,
) -> Evaluation:
    """Attack a model on images in [0, 1] with labels, or on a data set by name, and referee every example.

    Names are those of `advbench plugins`, with parameters as on the command line: `"pgd(steps=20)"`. With `db` the
    facts also go to a database that `advbench show` reads.
    """
    if (images is None) == (dataset is None):
        raise AdvbenchError("give either images with labels, or dataset=")
    registry = registry or discover()
    where = choose_device(device)
    entrant: Model | str = GivenModel.of(model, type(model).__name__) if isinstance(model, nn.Module) else model
    if images is not None:
        if labels is None or len(labels) != len(images):
            raise AdvbenchError(f"{len(images)} images need as many labels")
        judged: Dataset | str = GivenData.of(images, labels, _classes(entrant, images, labels), calibrate)
    else:
        assert dataset is not None
        judged = dataset
    suite = suite_from_mapping(
        {
            "name": "evaluate",
            "data": judged,
            "models": [entrant],
            "defenses": list(defenses),
            "attacks": list(attacks),
            "goals": list(goals),
            "threats": list(threats),
            "seed": seed,
            "stop": stop,
            **({} if examples is None else {"examples": examples}),
        },
        registry,
    )
    store = Store.open(db) if db else Store.memory()
    settings = Settings(device=where, folders=DataFolders.default(data), batch=batch_size, command="advbench.evaluate")
    summary = run(suite, store, registry, settings, reporter)
    return Evaluation(store, tuple(summary.failed))


def _classes(model: Model | str, images: Images, labels: Images) -> int:
    """As many as the network answers with; else as many as the labels name."""
    if isinstance(model, GivenModel):
        net = copy.deepcopy(model._net).eval().cpu()
        with torch.no_grad():
            logits = net(_examples(images[:1], labels[:1]).pixels())
        if not isinstance(logits, Tensor) or logits.ndim != 2:
            raise AdvbenchError(f"{model.label}: a network must answer images (N, C, H, W) with logits (N, classes)")
        return int(logits.shape[1])
    return int(max(labels)) + 1


def _examples(images: Images, labels: Images) -> Examples:
    pixels = torch.as_tensor(images).detach().cpu()
    if pixels.ndim != 4:
        raise AdvbenchError(f"images must be (N, C, H, W), not {tuple(pixels.shape)}")
    if pixels.dtype != torch.uint8:
        pixels = pixels.float()
        if not bool(((pixels >= 0) & (pixels <= 1)).all()):
            raise AdvbenchError("images must lie in [0, 1]; put the normalisation inside the network")
    return Examples(pixels, torch.as_tensor(labels).detach().cpu().long(), torch.arange(len(pixels)))


def _digest(net: nn.Module) -> str:
    """The network's printed form and the source of every class in it that is not torch's own."""
    parts = [repr(net)]
    for kind in sorted({type(m) for m in net.modules()}, key=lambda k: (k.__module__, k.__qualname__)):
        if not kind.__module__.startswith("torch."):
            try:
                parts.append(inspect.getsource(kind))
            except (OSError, TypeError):  # defined at a prompt
                parts.append(kind.__qualname__)
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
