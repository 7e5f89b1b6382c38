"""Torch's settings for the whole process: what code that is not ours may leave changed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch


@dataclass(frozen=True)
class Setting:
    """A setting by the words for it, how to read it and how to put it back."""

    words: str
    read: Callable[[], Any]
    write: Callable[[Any], object]


def _flag(holder: Any, name: str) -> tuple[Callable[[], Any], Callable[[Any], object]]:
    return lambda: getattr(holder, name), lambda value: setattr(holder, name, value)


def _autocast(kind: str) -> tuple[Callable[[], Any], Callable[[Any], object]]:
    return lambda: torch.is_autocast_enabled(kind), lambda value: torch.set_autocast_enabled(kind, value)


def _deterministic() -> tuple[bool, bool]:
    return torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()


def _device(value: torch.device) -> torch.device | None:
    return None if value.type == "cpu" else value


_INFERENCE: list[torch.inference_mode] = []
"""Kept, since the mode ends with the object that stands for it."""


def _infer(value: bool) -> None:
    mode = torch.inference_mode(value)
    mode.__enter__()
    _INFERENCE.append(mode)


SETTINGS = (
    Setting("default dtype", torch.get_default_dtype, torch.set_default_dtype),
    # none and the CPU are the same place, but only none costs nothing
    Setting("default device", torch.get_default_device, lambda value: torch.set_default_device(_device(value))),
    Setting("inference mode", torch.is_inference_mode_enabled, _infer),
    Setting("grad mode", torch.is_grad_enabled, torch.set_grad_enabled),
    Setting("number of threads", torch.get_num_threads, torch.set_num_threads),
    Setting(
        "deterministic algorithms",
        _deterministic,
        lambda value: torch.use_deterministic_algorithms(value[0], warn_only=value[1]),
    ),
    Setting("precision of matrix products", torch.get_float32_matmul_precision, torch.set_float32_matmul_precision),
    Setting("anomaly mode", torch.is_anomaly_enabled, torch.autograd.set_detect_anomaly),
    Setting("autocast on the CPU", *_autocast("cpu")),
    Setting("autocast on the GPU", *_autocast("cuda")),
    Setting("cuDNN", *_flag(torch.backends.cudnn, "enabled")),
    Setting("cuDNN's benchmark", *_flag(torch.backends.cudnn, "benchmark")),
    Setting("cuDNN's determinism", *_flag(torch.backends.cudnn, "deterministic")),
    Setting("oneDNN", *_flag(torch.backends.mkldnn, "enabled")),
)


@dataclass(frozen=True)
class TorchState:
    """The values of all `SETTINGS` at one moment, so that they can be put back."""

    values: tuple[Any, ...]

    @classmethod
    def now(cls) -> TorchState:
        return cls(tuple(setting.read() for setting in SETTINGS))

    def restore(self) -> list[str]:
        """Put back what is other than it was, and say what that is."""
        changes = []
        for setting, before in zip(SETTINGS, self.values, strict=True):
            after = setting.read()
            if after != before:
                setting.write(before)
                changes.append(f"torch's {setting.words} is {_words(after)}, not {_words(before)}")
        return changes


def _words(value: Any) -> str:
    return {True: "on", False: "off"}.get(value, str(value)) if isinstance(value, bool) else str(value)
