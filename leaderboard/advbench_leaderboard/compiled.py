"""Templates as they were compiled, kept in the cache: compiling them takes a third of the time of a small site."""

from __future__ import annotations

import contextlib
import hashlib
import marshal
import os
import stat
import sys
from functools import partial
from importlib.metadata import version
from pathlib import Path

from jinja2 import BytecodeCache
from jinja2.bccache import Bucket

from advbench.cache import cache_folder, replace_file
from advbench.errors import AdvbenchError

HERE = Path(__file__).parent
_UNKEPT = (OSError, RuntimeError)
"""Why nothing can be kept: the folder can't be used, or the user has no home where it could be."""


class Compiled(BytecodeCache):
    """What Jinja asks for compiled templates: those of this process, and of the last one that rendered.

    A template that was edited since has another checksum, by which Jinja compiles it again.
    """

    def __init__(self) -> None:
        self._code: dict[str, bytes] = {}
        self._changed = False

    def load_bytecode(self, bucket: Bucket) -> None:
        if bucket.key in self._code:
            bucket.bytecode_from_string(self._code[bucket.key])

    def dump_bytecode(self, bucket: Bucket) -> None:
        self._code[bucket.key] = bucket.bytecode_to_string()
        self._changed = True

    def recall(self) -> None:
        """What the last process kept, where this one has compiled nothing yet; a file that is not ours is none."""
        if self._code:
            return
        with contextlib.suppress(*_UNKEPT, ValueError, EOFError, TypeError):
            kept = _read(folder(), _name())
            digest, code = kept[:32], kept[32:]
            if digest == _digest(code):  # of a broken file nothing is loaded: Python would crash on some
                self._code = dict(marshal.loads(code))

    def keep(self) -> None:
        """Write down what was compiled since, where that is possible."""
        if not self._changed:
            return
        self._changed = False
        code = marshal.dumps(self._code)
        with contextlib.suppress(*_UNKEPT, AdvbenchError):
            folder().mkdir(mode=0o700, parents=True, exist_ok=True)
            if _private(os.lstat(folder())):
                replace_file(folder() / _name(), _digest(code) + code)


def folder() -> Path:
    return cache_folder() / "templates"


def _name() -> str:
    """A file for every installation."""
    return hashlib.sha256(f"{sys.prefix}\0{HERE}".encode(errors="backslashreplace")).hexdigest()[:16]


def _digest(code: bytes) -> bytes:
    """Of the file, and of all that decides what a template is compiled to: Python, Jinja, and this package, whose
    filters Jinja applies to constants while it compiles."""
    parts: list[object] = [sys.version, version("jinja2")]
    for source in sorted(HERE.rglob("*.py")):
        state = source.stat()
        parts.append((source.name, state.st_mtime_ns, state.st_size))
    return hashlib.sha256(repr(parts).encode() + code).digest()


def _read(place: Path, name: str) -> bytes:
    """A file of a folder that nobody else can reach: what is in it is run."""
    if not hasattr(os, "geteuid"):  # who else may write a file cannot be told here
        return b""
    opened = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        if not _private(os.fstat(opened)):
            return b""
        with open(name, "rb", opener=partial(os.open, dir_fd=opened)) as file:
            return file.read()
    finally:
        os.close(opened)


def _private(state: os.stat_result) -> bool:
    """Whether it is a folder of this user, closed to all others."""
    own = hasattr(os, "geteuid") and state.st_uid == os.geteuid()
    return own and stat.S_ISDIR(state.st_mode) and not stat.S_IMODE(state.st_mode) & 0o077


COMPILED = Compiled()
