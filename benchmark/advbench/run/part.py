"""A run cut into parts: which shards of a cell a part performs follows from the cell's key, and nobody is asked."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from advbench.errors import AdvbenchError
from advbench.store.parts import MOST, shards_of


class Share(Protocol):
    """What a run performs of each cell."""

    def shards(self, cell: str, count: int, *, together: bool) -> frozenset[int]:
        """The numbers, of `count` shards; `together` where they can't be told apart, as of one perturbation for all."""


@dataclass(frozen=True)
class Part:
    """One of several runs that make a whole."""

    number: int
    """From 1 on."""
    of: int

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"

    def shards(self, cell: str, count: int, *, together: bool) -> frozenset[int]:
        return shards_of(self.number, self.of, cell, count, together=together)


@dataclass(frozen=True)
class Chosen:
    """These shards of the only cell that is performed."""

    numbers: frozenset[int]

    def shards(self, cell: str, count: int, *, together: bool) -> frozenset[int]:
        return self.numbers


def part_of(text: str) -> Part:
    """What `--part 3/16` says."""
    said = re.fullmatch(r"([0-9]{1,9})/([0-9]{1,9})", text)
    number, of = (int(one) for one in said.groups()) if said else (0, 0)
    if said and of > MOST:
        raise AdvbenchError(f"--part {text}: at most {MOST:,} parts make a run")
    if not 1 <= number <= of:
        raise AdvbenchError(f"--part {text}: give which of how many, from 1/{of or 16} to {of or 16}/{of or 16}")
    return Part(number, of)


def digest_of(cells: Iterable[str]) -> str:
    """What parts of one run have in common: the keys of all of its cells."""
    return hashlib.sha256(" ".join(sorted(set(cells))).encode()).hexdigest()
