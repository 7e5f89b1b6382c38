"""The condition of a network: what must be the same after somebody else's code has run beside it."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.modules import module as torch_module

_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
_WORDS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int32}
"""Whole numbers to read values as, by their bytes; a value of 8 bytes is two of them."""
_PLACE = -1_640_531_535
"""2**32 divided by the golden ratio, as 32 bits: multiples of it are spread evenly (Knuth's multiplicative hash)."""
_PLAIN = (bool, int, float, str, type(None))


@dataclass(frozen=True, slots=True)
class Seen:
    """A tensor as it was: the object, where and what it holds, and how often torch saw it written to."""

    identity: tuple[int, int]
    form: tuple[object, ...]
    version: int | None


@dataclass(frozen=True, slots=True)
class Part:
    """What is remembered of a module besides its tensors: its mode, its own `forward` and its hooks."""

    identity: int
    training: bool
    forward: int
    """The identity of a `forward` that was put on this one object; its class has its own."""
    hooks: tuple[tuple[int, ...], ...]

    @classmethod
    def of(cls, module: nn.Module) -> Part:
        hooks = tuple(tuple(getattr(module, kind, None) or ()) for kind in _HOOKS)  # compiled ones keep them elsewhere
        return cls(id(module), bool(module.training), id(vars(module).get("forward")), hooks)


@dataclass(frozen=True, slots=True)
class Change:
    """A difference between a network and what was remembered of it."""

    name: str
    how: str
    held: bool
    """Whether it is a value that the network keeps, which it may have changed by itself."""

    def __str__(self) -> str:
        return f"{self.name} {self.how}"


@dataclass(frozen=True)
class Condition:
    """Parameters, buffers, other tensors and plain values of some networks, their parts, training modes and hooks."""

    tensors: dict[str, Seen]
    bits: dict[str, int]
    values: dict[str, object]
    parts: dict[str, Part]
    everywhere: tuple[int, ...]
    """How many hooks torch calls for every module there is."""

    @classmethod
    def of(cls, nets: Sequence[nn.Module]) -> Condition:
        tensors, values, parts, kept = {}, {}, {}, {}
        seen: set[int] = set()
        for place, net in enumerate(nets):
            prefix = f"network {place}: " if place else ""
            for name, module in net.named_modules():
                if id(module) in seen:  # a network behind a defense is told of once
                    continue
                seen.add(id(module))
                where = f"{prefix}{name or type(module).__name__}"
                parts[where] = Part.of(module)
                for key, value in _contents(module):
                    label = f"{where}.{key}"
                    if isinstance(value, Tensor):
                        kept[label] = value
                        tensors[label] = _observe(value)
                    else:
                        values[label] = value
        everywhere = tuple(len(vars(torch_module)[f"_global{hooks}"]) for hooks in _HOOKS)
        return cls(tensors, _sums(kept), values, parts, everywhere)

    def changes(self, now: Condition) -> list[Change]:
        """What is other than it was, in words, each by its name."""
        return [*self._changed_parts(now), *self._changed_tensors(now), *self._changed_values(now)]

    def _changed_parts(self, now: Condition) -> Iterator[Change]:
        for name in sorted(self.parts.keys() | now.parts.keys()):
            before, after = self.parts.get(name), now.parts.get(name)
            if before is None or after is None or before.identity != after.identity:
                yield Change(name, "is another module", held=False)
                continue
            if before.training != after.training:
                yield Change(name, f"is {'' if after.training else 'no longer '}in training mode", held=False)
            if before.forward != after.forward:
                yield Change(name, "has another `forward`", held=False)
            if before.hooks != after.hooks:
                yield Change(name, "has other hooks", held=False)
        if self.everywhere != now.everywhere:
            yield Change("torch", "calls other hooks for every module", held=False)

    def _changed_tensors(self, now: Condition) -> Iterator[Change]:
        for name in sorted(self.tensors.keys() | now.tensors.keys()):
            was, is_ = self.tensors.get(name), now.tensors.get(name)
            if was is None or is_ is None:
                yield Change(name, f"is {'new' if was is None else 'gone'}", held=True)
            elif was.form != is_.form:
                yield Change(name, "has another type, shape, device or `requires_grad`", held=True)
            elif self.bits.get(name) != now.bits.get(name):
                yield Change(name, "holds other values", held=True)
            elif was.version != is_.version:
                yield Change(name, "was written to", held=True)
            elif was.identity != is_.identity:
                yield Change(name, "is another tensor", held=True)

    def _changed_values(self, now: Condition) -> Iterator[Change]:
        for name in sorted(self.values.keys() | now.values.keys()):
            was, is_ = self.values.get(name), now.values.get(name)
            # NaN is no reason to doubt anybody
            if was != is_ and not (was != was and is_ != is_):
                yield Change(name, f"is {is_!r}, not {was!r}", held=True)


def _contents(module: nn.Module) -> Iterator[tuple[str, object]]:
    """What a module holds: tensors, also those that are no parameter and no buffer, numbers, texts and flags."""
    for held in (module._parameters, module._buffers):
        yield from ((key, value) for key, value in held.items() if value is not None)
    for key, value in vars(module).items():
        if isinstance(value, Tensor) or (isinstance(value, _PLAIN) and key != "training"):
            yield key, value


def _observe(value: Tensor) -> Seen:
    version = None if value.is_inference() else value._version
    strided = value.layout == torch.strided
    form = (value.dtype, tuple(value.shape), value.device, value.requires_grad, value.layout)
    return Seen((id(value), value.data_ptr() if strided else 0), form, version)


def _sums(tensors: dict[str, Tensor]) -> dict[str, int]:
    """A checksum of each one's bits; all of an accelerator's come over together, with one wait."""
    checksums: dict[str, int] = {}
    elsewhere: dict[torch.device, list[tuple[str, Tensor]]] = {}
    for name, value in tensors.items():
        if value.layout != torch.strided or value.is_quantized:
            continue
        value = torch.view_as_real(value.detach().resolve_conj()) if value.is_complex() else value.detach()
        if value.device.type == "cpu":
            checksums[name] = zlib.crc32(value.contiguous().view(-1).view(torch.uint8).numpy().data)
        elif value.device.type != "meta":
            elsewhere.setdefault(value.device, []).append((name, mixed(value)))
    for sums in elsewhere.values():
        numbers = torch.stack([bits for _, bits in sums]).tolist()
        checksums |= {name: number for (name, _), number in zip(sums, numbers, strict=True)}
    return checksums


def mixed(value: Tensor) -> Tensor:
    """A sum of its bits, made where it lies, that depends on their places.

    A plain sum would not see that two values were exchanged, nor that an even number of them were negated: that adds
    2**31 to each, which is 0 in 32 bits. So the upper half of a word is mixed into its lower half first.
    """
    flat = value.contiguous().view(-1)
    words = (flat if value.dtype == torch.bool else flat.view(_WORDS[value.element_size()])).to(torch.int32)
    place = torch.arange(1, len(words) + 1, dtype=torch.int32, device=words.device).mul_(_PLACE).bitwise_or_(1)
    # sums of 32 bits overflow, always in the same way
    return place.mul_(words ^ (words >> 16)).sum(dtype=torch.int32).long()
