"""The Python door: any `torch.nn.Module` on tensors or a data set, with the referee and the numbers of the CLI."""

from __future__ import annotations

import copy
import hashlib
import inspect
import weakref
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from advbench.data import Data, DataFolders, Examples
from advbench.discovery import discover
from advbench.engine import describe
from advbench.errors import AdvbenchError, PluginError
from advbench.hardware import choose_device
from advbench.parameters import Parametric
from advbench.plot import bars
from advbench.plugin import Attack, Dataset, Defense, Model
from advbench.recipe import Recipe
from advbench.registry import Registry
from advbench.report import Reporter
from advbench.run import Settings, run
from advbench.store import Store
from advbench.suite import suite_from_mapping
from advbench.threats import Threat

Images = Tensor | np.ndarray[Any, Any] | Sequence[Any]


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
    def of(cls, judge: Examples, held_out: Examples, classes: int) -> GivenData:
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
    """Every fact, also those that the database held before."""
    boards: tuple[str, ...]
    """Keys of the boards that were asked for."""
    targets: dict[str, str]
    """Labels by key: the model behind each of the defenses, in their order."""
    failed: tuple[tuple[str, str], ...]

    @property
    def rates(self) -> list[dict[str, Any]]:
        """A row per board, target and attack: accuracy under it with its interval."""
        return self._rows("attack_accuracy")

    @property
    def robust_accuracy(self) -> dict[str, float | None]:
        """By board: the share right when clean and under every attack; None where one of them failed.

        With several defenses, the key is the board with the target's label behind it.
        """
        return {self._named(row): row["accuracy"] for row in self._rows("robust_accuracy")}

    @property
    def clean_accuracy(self) -> float:
        """Of the model behind the first of the defenses, on as many examples as the first board takes."""
        return float(self._rows("clean_accuracy")[0]["accuracy"])

    def plot(self) -> Picture:
        """Accuracy on clean images, under each attack and in the worst case."""
        return Picture(bars(self._bars(), title="Accuracy under attack, with 95 % intervals"))

    def _rows(self, view: str) -> list[dict[str, Any]]:
        """What the view says of this evaluation alone, boards and targets in the order in which they were asked for."""
        places = {key: place for place, key in enumerate((*self.boards, *self.targets))}
        rows = [r for r in self.store.rates(view) if r["board"] in self.boards and r["target"] in self.targets]
        return sorted(rows, key=lambda row: (places[row["board"]], places[row["target"]]))

    def _named(self, row: Mapping[str, Any]) -> str:
        return str(row["board_name"]) if len(self.targets) == 1 else f"{row['board_name']} {row['target_label']}"

    def _bars(self) -> list[tuple[str, float, float, float]]:
        clean = {row["target"]: row for row in reversed(self._rows("clean_accuracy"))}
        one = len(self.targets) == 1
        found = [
            ("clean images" if one else f"clean images {label}", clean[key])
            for key, label in self.targets.items()
            if key in clean
        ]
        found += [(f"{self._named(row)}: {row['entrant']}", row) for row in self.rates]
        worst = [row for row in self._rows("robust_accuracy") if row["accuracy"] is not None]
        found += [(f"{self._named(row)}: worst case", row) for row in worst]
        return [(name, row["accuracy"], row["accuracy_low"], row["accuracy_high"]) for name, row in found]

    def __str__(self) -> str:
        from rich.console import Console

        from advbench.cli.tables import print_boards
        from advbench.cli.text import say

        console = Console(width=120, no_color=True, highlight=False)
        with console.capture() as captured:
            print_boards(console, self.store, keys=self.boards, targets=self.targets)
            for label, reason in self.failed:
                say(console, f"failed: {label}: {reason}")
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
    threats: Sequence[Threat | str] | Threat | str,
    attacks: Sequence[Attack | str] | Attack | str = ("fgsm", "pgd"),
    defenses: Sequence[Defense | str] | Defense | str = ("none",),
    goals: Sequence[str] | str = ("untargeted",),
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

    Names are those of `advbench plugins`, with parameters as on the command line: `"pgd(steps=20)"`. Detectors among
    the defenses set their threshold on `calibrate`: clean images and labels beside those that are judged. With `db` the
    facts also go to a database that `advbench show` reads.
    """
    if (images is None) == (dataset is None) or (images is None) != (labels is None):
        raise AdvbenchError("give either images with labels, or dataset=")
    if calibrate is not None and images is None:
        raise AdvbenchError("calibrate= goes with images; a data set holds images back by itself")
    if batch_size is not None and batch_size < 1:
        raise AdvbenchError(f"batch_size must be at least 1, not {batch_size}")
    registry = registry or discover()
    where = choose_device(device)
    entrant: Model | str = GivenModel.of(model, type(model).__name__) if isinstance(model, nn.Module) else model
    judged: Any = dataset
    if images is not None and labels is not None:
        brought = _examples(images, labels)
        held_out = _held_out(*calibrate, brought) if calibrate else brought[:0]
        judged = GivenData.of(brought, held_out, _classes(entrant, brought))
    suite = suite_from_mapping(
        {
            "name": "evaluate",
            "data": judged,
            "models": [entrant],
            "defenses": _listed(defenses),
            "attacks": _listed(attacks),
            "goals": _listed(goals),
            "threats": _listed(threats),
            "seed": seed,
            "stop": stop,
            **({} if examples is None else {"examples": examples}),
        },
        registry,
    )
    store = Store.open(db) if db else Store.memory()
    try:
        folders = DataFolders.default(data)
        settings = Settings(device=where, folders=folders, batch=batch_size, command="advbench.evaluate")
        summary = run(suite, store, registry, settings, reporter)
        if summary.interrupted:
            raise KeyboardInterrupt
        if not summary.targets:
            reasons = [f"{label}: {reason}" for label, reason in summary.failed]
            reasons += [row["reason"] for row in store.rows("SELECT reason FROM skips WHERE run = ?", summary.run)]
            raise PluginError("nothing could be attacked: " + "; ".join(dict.fromkeys(reasons)))
    except BaseException:
        store.close()
        raise
    found = Evaluation(store, summary.boards, summary.targets, tuple(summary.failed))
    weakref.finalize(found, store.close)
    return found


def _listed(value: Any) -> list[Any]:
    """One name may stand without its list; a text is a list of letters only to Python."""
    return [value] if isinstance(value, str | Parametric) else list(value)


def _classes(model: Model | str, examples: Examples) -> int:
    """As many as the network answers with; else as many as the labels name."""
    named = int(examples.labels.max()) + 1
    if not isinstance(model, GivenModel):
        return max(2, named)
    net = copy.deepcopy(model._net).eval().cpu()
    shape = tuple(examples.images.shape[1:])
    try:
        with torch.no_grad():
            logits = net(examples[:1].pixels())
    except Exception as error:
        raise PluginError(f"{model.label} can't answer one image of shape {shape}: {describe(error)}") from error
    if not isinstance(logits, Tensor) or logits.ndim != 2 or len(logits) != 1 or logits.shape[1] < 2:
        got = f"shape {tuple(logits.shape)}" if isinstance(logits, Tensor) else type(logits).__name__
        raise PluginError(
            f"{model.label}: a network must answer images (N, C, H, W) with logits (N, classes), at least two of them; "
            f"for one image it answered {got}"
        )
    if named > logits.shape[1]:
        raise AdvbenchError(f"there is a label {named - 1}, but {model.label} knows classes 0 to {logits.shape[1] - 1}")
    return int(logits.shape[1])


def _examples(images: Images, labels: Images) -> Examples:
    pixels = torch.as_tensor(images).detach().cpu()
    if pixels.ndim != 4:
        raise AdvbenchError(f"images must be (N, C, H, W), not {tuple(pixels.shape)}")
    if not pixels.numel():
        raise AdvbenchError(f"there are no images in a tensor of shape {tuple(pixels.shape)}")
    if pixels.dtype != torch.uint8:
        pixels = pixels.float()
        if not bool(((pixels >= 0) & (pixels <= 1)).all()):
            raise AdvbenchError(
                f"images must lie in [0, 1], or be uint8; these go from {float(pixels.min()):.3g} to "
                f"{float(pixels.max()):.3g}: put the normalisation inside the network"
            )
    truth = torch.as_tensor(labels).detach().cpu()
    if truth.shape != (len(pixels),):
        raise AdvbenchError(f"{len(pixels)} images need as many labels, one number each, not {tuple(truth.shape)}")
    if truth.is_complex() or not torch.equal(truth, truth.long().to(truth.dtype)) or int(truth.min()) < 0:
        raise AdvbenchError("labels must be whole numbers from 0 on")
    # copies: what somebody does to their tensors afterwards must not reach what was judged
    return Examples(pixels.clone(), truth.long().clone(), torch.arange(len(pixels)))


def _held_out(images: Images, labels: Images, judged: Examples) -> Examples:
    """Clean images to set thresholds on, with ids that no judged image has."""
    found = _examples(images, labels)
    if found.images.shape[1:] != judged.images.shape[1:]:
        shapes = f"{tuple(found.images.shape[1:])}, those to judge {tuple(judged.images.shape[1:])}"
        raise AdvbenchError(f"calibrate: its images have the shape {shapes}")
    return Examples(found.images, found.labels, found.ids + len(judged))


def _digest(net: nn.Module) -> str:
    """The network's printed form, what its modules hold besides weights, and the source of classes not torch's own."""
    parts = [repr(net)]
    for name, module in net.named_modules():
        held = {key: value for key, value in vars(module).items() if key not in _TORCH_HOLDS}
        parts += [f"{name}.{key}={_held(value)}" for key, value in sorted(held.items())]
    for kind in sorted({type(m) for m in net.modules()}, key=lambda k: (k.__module__, k.__qualname__)):
        if not kind.__module__.startswith("torch."):
            try:
                parts.append(inspect.getsource(kind))
            except (OSError, TypeError):  # defined at a prompt
                parts.append(kind.__qualname__)
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


_TORCH_HOLDS = set(vars(nn.Module()))
"""What every module has; weights and buffers are hashed by themselves."""


def _held(value: Any) -> str:
    """Numbers, texts and tensors by value, functions by their source, the rest by kind: an address says nothing."""
    if isinstance(value, Tensor):
        numbers = value.detach().cpu().contiguous()
        content = hashlib.sha256(numbers.flatten().view(torch.uint8).numpy().tobytes()).hexdigest()
        return f"{numbers.dtype}{tuple(numbers.shape)}{content}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(_held(item) for item in value)}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{key!r}: {_held(item)}' for key, item in value.items())}}}"
    if isinstance(value, np.ndarray):
        return _held(torch.as_tensor(value))
    if inspect.isroutine(value):
        try:
            return inspect.getsource(value)
        except (OSError, TypeError):
            return str(getattr(value, "__qualname__", ""))
    return repr(value) if isinstance(value, int | float | complex | str | bytes | None) else type(value).__qualname__
