"""Random numbers that are a pure hash of (seed, purpose, example id, counter, position).

Nothing else enters: not the batch, not the shard, not which neighbours have left, not the device. So a run that is
split, resumed or moved to a GPU draws the same numbers.
"""

from __future__ import annotations

import hashlib
import math

import torch
from torch import Tensor

_GOLDEN = -0x61C8864680B583EB  # 2**64 / golden ratio, as a signed 64-bit integer
_MASK32 = 0xFFFFFFFF


class Draws:
    """A stream of draws for a batch of examples; each call takes the next counter."""

    def __init__(self, seed: int, purpose: str, ids: Tensor) -> None:
        digest = hashlib.sha256(f"{seed}/{purpose}".encode()).digest()
        self._root = int.from_bytes(digest[:8], "little", signed=True)
        self.ids = ids.long().clone()
        self._counter = 0

    def subset(self, index: Tensor) -> Draws:
        """The same stream, at the same place, for some of the examples."""
        other = object.__new__(Draws)
        other._root, other.ids, other._counter = self._root, self.ids[index], self._counter
        return other

    def _bits(self, count: int) -> Tensor:
        """(N, count) of 32 random bits, held in int32: its products wrap, and it is four times as fast as int64."""
        keys = _mix64(_mix64(self.ids + self._root) + _wrapped(self._counter * _GOLDEN))
        self._counter += 1
        place = torch.arange(count, device=self.ids.device, dtype=torch.int64) * 0x9E3779B1
        low, high = (_low32(keys).view(-1, 1), _low32(keys >> 32).view(-1, 1))
        bits = _low32(place) + low
        spare = torch.empty_like(bits)
        return _mix32(_mix32(bits, spare).add_(high), spare)

    def uniform(self, *shape: int, low: float = 0.0, high: float = 1.0, dtype: torch.dtype = torch.float32) -> Tensor:
        """(N, *shape) numbers in the open interval (low, high)."""
        # 23 bits and a half step: exact in float32, so never 0 and never 1
        bits = self._bits(math.prod(shape)).bitwise_right_shift_(9).bitwise_and_(0x7FFFFF)
        unit = bits.to(dtype).add_(0.5).mul_(2.0**-23)
        if (low, high) != (0.0, 1.0):
            unit.mul_(high - low).add_(low)
        return unit.view(len(self.ids), *shape)

    def normal(self, *shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
        """(N, *shape) numbers from the standard normal distribution, by Box and Muller."""
        radius = self.uniform(*shape, dtype=dtype).log_().mul_(-2).sqrt_()
        return radius.mul_(self.uniform(*shape, dtype=dtype).mul_(2 * math.pi).cos_())

    def integers(self, high: int, *shape: int) -> Tensor:
        """(N, *shape) integers in [0, high)."""
        return ((self._bits(math.prod(shape)).long() & _MASK32) * high >> 32).view(len(self.ids), *shape)

    def sign(self, *shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
        """(N, *shape) of -1 and 1."""
        return self.integers(2, *shape).to(dtype).mul_(2).sub_(1)


def _wrapped(value: int) -> int:
    """The integer as a signed 64-bit one."""
    return (value + 2**63) % 2**64 - 2**63


def _mix64(v: Tensor) -> Tensor:
    """The finaliser of splitmix64; int64 arithmetic wraps, and shifts are made logical by a mask."""
    v = (v ^ (v >> 30 & 0x3FFFFFFFF)) * -0x40A7B892E31B1A47
    v = (v ^ (v >> 27 & 0x1FFFFFFFFF)) * -0x6B2FB644ECCEEE15
    return v ^ (v >> 31 & 0x1FFFFFFFF)


def _low32(v: Tensor) -> Tensor:
    """The lower half of int64 as int32, bit for bit."""
    return ((v + 2**31 & _MASK32) - 2**31).int()


def _mix32(v: Tensor, spare: Tensor) -> Tensor:
    """The finaliser of murmur3, in place; `spare` is overwritten."""
    for shift, factor in ((16, -0x7A143595), (13, -0x3D4D51CB), (16, None)):
        torch.bitwise_right_shift(v, shift, out=spare)
        v.bitwise_xor_(spare.bitwise_and_((1 << 32 - shift) - 1))  # a logical shift, made of an arithmetic one
        if factor is not None:
            v.mul_(factor)
    return v
