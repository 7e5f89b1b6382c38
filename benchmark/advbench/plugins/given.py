"""A network and images that somebody brought, as a model and a data set."""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from advbench.data import Data, DataFolders, Examples
from advbench.errors import AdvbenchError, PluginError, one_line
from advbench.plugin import Dataset, Model
from advbench.plugins.foreign import no_exit
from advbench.recipe import Recipe

Images = Tensor | np.ndarray[Any, Any] | Sequence[Any]


@dataclass(frozen=True)
class GivenModel(Model):
    """The model plugin that stands for a network given to `advbench.evaluate`; nothing trains it."""

    name: ClassVar[str] = "given"

    title: str = "model"
    digest: str = ""
    """What the network is made of, so that two architectures with equal weights are two models."""

    @classmethod
    def of(cls, net: nn.Module, title: str) -> GivenModel:
        model = cls(title, _digest(net))
        # a copy: what happens to a target here must not reach the network of whoever brought it, nor the other way
        object.__setattr__(model, "_net", copy.deepcopy(net))
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
    """The data set plugin that stands for images given to `advbench.evaluate`."""

    name: ClassVar[str] = "given"

    fingerprint: str = ""

    @classmethod
    def of(cls, judge: Examples, held_out: Examples, classes: int, *, publishable: bool = True) -> GivenData:
        data = cls(judge.fingerprint[:12])
        channels, height, width = judge.images.shape[1:]
        values = {
            "shape": (channels, height, width),
            "class_names": tuple(str(k) for k in range(classes)),
            "publishable": publishable,
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


def refuse_given_images(label: str) -> None:
    """Refuse images that `evaluate` was handed in memory: a database names them, and they can't be had again."""
    if label == GivenData.name:
        raise AdvbenchError(
            "its images were given to `evaluate` in memory and are not in the database: what needs them again (verify, "
            "reproduce, export) needs a data set plugin; evaluate the network with dataset=… and its name"
        )


def refuse_given_model(label: str, params: Mapping[str, Any]) -> None:
    """Refuse a stored network that was given to `evaluate`: its parameters tell, since any plugin may have its name."""
    if params.keys() == {field.name for field in dataclasses.fields(GivenModel)}:
        raise AdvbenchError(
            f"{label} was given to `evaluate` in memory and is not in the database: what needs it again (verify, "
            "reproduce) needs a model plugin; evaluate that by its name"
        )


def count_classes(model: Model | str, examples: Examples) -> int:
    """The number of classes: as many as the network answers with; else as many as the labels name."""
    named = int(examples.labels.max()) + 1
    if not isinstance(model, GivenModel):
        return max(2, named)
    net = copy.deepcopy(model._net).eval().cpu()
    shape = tuple(examples.images.shape[1:])
    try:
        with no_exit(model.label), torch.no_grad():
            logits = net(examples[:1].pixels())
    except Exception as error:
        raise PluginError(f"{model.label} can't answer one image of shape {shape}: {one_line(error)}") from error
    if not isinstance(logits, Tensor) or logits.ndim != 2 or len(logits) != 1 or logits.shape[1] < 2:
        got = f"shape {tuple(logits.shape)}" if isinstance(logits, Tensor) else type(logits).__name__
        raise PluginError(
            f"{model.label}: a network must answer images (N, C, H, W) with logits (N, classes), at least two of them; "
            f"for one image it answered {got}"
        )
    if named > logits.shape[1]:
        raise AdvbenchError(f"there is a label {named - 1}, but {model.label} knows classes 0 to {logits.shape[1] - 1}")
    return int(logits.shape[1])


def checked_examples(images: Images, labels: Images) -> Examples:
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


def held_out_examples(images: Images, labels: Images, judged: Examples) -> Examples:
    """Clean images to set thresholds on, with ids that no judged image has."""
    examples = checked_examples(images, labels)
    if examples.images.shape[1:] != judged.images.shape[1:]:
        shapes = f"{tuple(examples.images.shape[1:])}, those to judge {tuple(judged.images.shape[1:])}"
        raise AdvbenchError(f"calibrate: its images have the shape {shapes}")
    return Examples(examples.images, examples.labels, examples.ids + len(judged))


def _digest(net: nn.Module) -> str:
    """The network's printed form, what its modules hold besides weights, and the source of classes not torch's own."""
    parts = [repr(net)]
    for name, module in net.named_modules():
        held = {key: value for key, value in vars(module).items() if key not in _TORCH_HOLDS}
        parts += [f"{name}.{key}={_identity(value)}" for key, value in sorted(held.items())]
    for kind in sorted({type(m) for m in net.modules()}, key=lambda k: (k.__module__, k.__qualname__)):
        if not kind.__module__.startswith("torch."):
            try:
                parts.append(inspect.getsource(kind))
            except (OSError, TypeError):  # defined at a prompt
                parts.append(kind.__qualname__)
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


_TORCH_HOLDS = set(vars(nn.Module()))
"""What every module has; weights and buffers are hashed by themselves."""


def _identity(value: Any) -> str:
    """Numbers, texts and tensors by value, functions by their source, the rest by kind: an address says nothing."""
    if isinstance(value, Tensor):
        numbers = value.detach().cpu().contiguous()
        content = hashlib.sha256(numbers.flatten().view(torch.uint8).numpy().tobytes()).hexdigest()
        return f"{numbers.dtype}{tuple(numbers.shape)}{content}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(_identity(item) for item in value)}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{key!r}: {_identity(item)}' for key, item in value.items())}}}"
    if isinstance(value, np.ndarray):
        return _identity(torch.as_tensor(value))
    if inspect.isroutine(value):
        try:
            return inspect.getsource(value)
        except (OSError, TypeError):
            return str(getattr(value, "__qualname__", ""))
    return repr(value) if isinstance(value, int | float | complex | str | bytes | None) else type(value).__qualname__
