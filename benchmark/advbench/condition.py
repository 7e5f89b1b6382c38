"""The condition of a network: what must be the same after somebody else's code has run beside it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.modules import module as torch_module

_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
_SAME_SIZE = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


@dataclass(frozen=True, slots=True)
class Seen:
    """A tensor as it was: the object, where and what it holds, and how often torch saw it written to."""

    identity: tuple[int, int]
    form: tuple[object, ...]
    version: int | None


@dataclass(frozen=True, slots=True)
class Part:
    """A module as it was, its tensors left out."""

    identity: int
    training: bool
    forward: int
    """Of a `forward` that was put on this one object; its class has its own."""
    hooks: tuple[tuple[int, ...], ...]

    @classmethod
    def of(cls, module: nn.Module) -> Part:
        held = vars(module)
        hooks = tuple(tuple(held[kind]) if held[kind] else () for kind in _HOOKS)
        return cls(id(module), held["training"], id(held.get("forward")), hooks)


@dataclass(frozen=True)
class Condition:
    """Parameters, buffers and other tensors of some networks, their parts, training modes and hooks."""

    tensors: dict[str, Seen]
    bits: dict[str, int]
    parts: dict[str, Part]
    everywhere: tuple[int, ...]
    """How many hooks torch calls for every module there is."""

    @classmethod
    def of(cls, nets: Sequence[nn.Module]) -> Condition:
        tensors, parts, kept = {}, {}, {}
        for place, net in enumerate(nets):
            prefix = f"network {place}: " if place else ""
            for name, module in net.named_modules():
                where = f"{prefix}{name or type(module).__name__}"
                parts[where] = Part.of(module)
                for key, value in _tensors_of(module):
                    label = f"{where}.{key}"
                    kept[label] = value
                    tensors[label] = _seen(value)
        everywhere = tuple(len(vars(torch_module)[f"_global{hooks}"]) for hooks in _HOOKS)
        return cls(tensors, _sums(kept), parts, everywhere)

    def changes(self, now: Condition) -> list[str]:
        """What is other than it was, in words, each by its name."""
        found = []
        for name in sorted(self.parts.keys() | now.parts.keys()):
            before, after = self.parts.get(name), now.parts.get(name)
            if before is None or after is None or before.identity != after.identity:
                found.append(f"{name} is another module")
                continue
            if before.training != after.training:
                found.append(f"{name} is {'' if after.training else 'no longer '}in training mode")
            if before.forward != after.forward:
                found.append(f"{name} has another `forward`")
            if before.hooks != after.hooks:
                found.append(f"{name} has other hooks")
        if self.everywhere != now.everywhere:
            found.append("torch calls other hooks for every module")
        for name in sorted(self.tensors.keys() | now.tensors.keys()):
            was, is_ = self.tensors.get(name), now.tensors.get(name)
            if was is None or is_ is None:
                found.append(f"{name} is {'new' if was is None else 'gone'}")
            elif was.form != is_.form:
                found.append(f"{name} has another type, shape, device or `requires_grad`")
            elif self.bits.get(name) != now.bits.get(name):
                found.append(f"{name} holds other values")
            elif was.version != is_.version:
                found.append(f"{name} was written to")
            elif was.identity != is_.identity:
                found.append(f"{name} is another tensor")
        return found


def _tensors_of(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Also those that are no parameter and no buffer: what a defense keeps as a plain attribute."""
    for held in (module._parameters, module._buffers, vars(module)):
        yield from ((key, value) for key, value in held.items() if isinstance(value, Tensor))


def _seen(value: Tensor) -> Seen:
    version = None if value.is_inference() else value._version
    plain = value.layout == torch.strided
    form = (value.dtype, tuple(value.shape), value.device, value.requires_grad, value.layout)
    return Seen((id(value), value.data_ptr() if plain else 0), form, version)


def _sums(tensors: dict[str, Tensor]) -> dict[str, int]:
    """The sum of each one's bits, read as whole numbers; all of a device's come over together, with one wait."""
    by_device: dict[torch.device, list[tuple[str, Tensor]]] = {}
    for name, value in tensors.items():
        if value.layout == torch.strided and not value.is_quantized:
            by_device.setdefault(value.device, []).append((name, _bits(value)))
    return {
        name: number
        for found in by_device.values()
        for (name, _), number in zip(found, torch.stack([bits for _, bits in found]).tolist(), strict=True)
    }


def _bits(value: Tensor) -> Tensor:
    value = value.detach()
    if value.is_complex():
        value = torch.view_as_real(value.resolve_conj())
    whole = value if value.dtype == torch.bool else value.view(_SAME_SIZE[value.element_size()])
    # sums of 32 bits may overflow, always in the same way, and take a tenth of the time of those of 64
    return whole.sum(dtype=torch.int64 if value.element_size() == 8 else torch.int32).long()
