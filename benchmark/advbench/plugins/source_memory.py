"""What runs have read of source files, kept in the user's cache as Python keeps bytecode: by place, size and times.

It is the user's own word: read only where the file is theirs and nobody else can write it, and only by runs.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import stat
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from advbench.cache import cache_folder, replace_file
from advbench.errors import AdvbenchError

SETTLED = 2_000_000_000
"""Nanoseconds after which a file that is changed again shows another time, on every file system in use."""
Mark = tuple[int, ...]


@dataclass(frozen=True)
class Import:
    """`import module`, or `from ..module import names` so many levels above."""

    module: str
    level: int = 0
    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class Facts:
    """The digest of what counts in a file, and what it imports."""

    digest: str
    imports: tuple[Import, ...]


def mark_of(path: Path) -> Mark:
    """What changes with every change of a file, its times to the nanosecond; nobody can set the last one."""
    status = path.stat()
    return status.st_size, status.st_ino, status.st_mtime_ns, status.st_ctime_ns


@dataclass
class SourceMemory:
    """Empty until somebody recalls it."""

    reader: Path
    """The source of whoever reads the files: one who reads otherwise has another memory."""
    _known: dict[str, tuple[Mark, Facts]] = field(default_factory=dict)
    _news: bool = False

    def recall(self) -> None:
        with contextlib.suppress(OSError, ValueError, TypeError, LookupError, RecursionError):
            self._known = {**_read(self._place()), **self._known}

    def known(self, path: Path, mark: Mark) -> Facts | None:
        before, facts = self._known.get(str(path), ((), None))
        return facts if before == mark else None

    def learn(self, path: Path, mark: Mark, facts: Facts) -> None:
        """Unless it may be changed once more without another mark."""
        if time.time_ns() - max(mark[2:]) > SETTLED:
            self._known[str(path)] = mark, facts
            self._news = True

    def keep(self) -> None:
        """Write it down where there is something new, and where that is possible."""
        if self._news:
            rows = [
                [path, list(mark), facts.digest, [[one.module, one.level, list(one.names)] for one in facts.imports]]
                for path, (mark, facts) in self._known.items()
                if Path(path).is_file()
            ]
            with contextlib.suppress(OSError, AdvbenchError):
                replace_file(self._place(), json.dumps(rows).encode(errors="surrogatepass"), private=True)
            self._news = False

    def _place(self) -> Path:
        """A file for every environment and every version of the reader."""
        parts = sys.prefix.encode(errors="surrogatepass"), sys.version.encode(), self.reader.read_bytes()
        name = hashlib.sha256(b"\0".join(parts)).hexdigest()[:16]
        return cache_folder() / "sources" / f"{name}.json"


def _read(place: Path) -> dict[str, tuple[Mark, Facts]]:
    """What a file says, which may say anything; the errors of one that is no memory are the caller's."""
    with place.open("rb") as file:
        if not _is_mine(os.fstat(file.fileno())):
            return {}
        content: Any = json.loads(file.read())
    known = {}
    for path, mark, digest, imports in content:
        facts = Facts(digest, tuple(Import(module, level, tuple(names)) for module, level, names in imports))
        texts = [path, digest, *(text for one in facts.imports for text in (one.module, *one.names))]
        numbers = [*mark, *(one.level for one in facts.imports)]
        if not all(isinstance(text, str) for text in texts) or not all(type(number) is int for number in numbers):
            raise TypeError("not a memory")
        known[path] = tuple(mark), facts
    return known


def _is_mine(status: os.stat_result) -> bool:
    if not hasattr(os, "getuid"):
        return True
    return status.st_uid == os.getuid() and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
