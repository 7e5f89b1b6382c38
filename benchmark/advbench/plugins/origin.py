"""Who shipped a plugin, in which version and with which source."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import inspect
import re
import sys
from dataclasses import dataclass
from importlib.metadata import Distribution
from pathlib import Path

from advbench.errors import plain


@dataclass(frozen=True)
class Origin:
    """Who shipped a plugin."""

    distribution: str
    version: str
    entry_point: str
    digest: str = ""
    """Of the Python sources that define the plugin's class; empty where there are none to read."""

    @classmethod
    def of(cls, distribution: Distribution | None, entry_point: str) -> Origin:
        """An entry point of a distribution whose metadata may be broken."""
        try:
            name = str(distribution.name) if distribution else "?"
            version = str(distribution.version) if distribution else "?"
        except Exception:  # metadata without a name or a version
            name, version = "?", "?"
        return cls(plain(name), plain(version), plain(entry_point))

    def __str__(self) -> str:
        return f"{self.distribution} {self.version} (entry point {self.entry_point})"

    @property
    def built_in(self) -> bool:
        """Whether advbench itself ships it."""
        return canonical(self.distribution) == "advbench"

    @property
    def names(self) -> set[str]:
        """What it may be called: its entry point, its distribution, or both with a colon between."""
        owner = canonical(self.distribution)
        builtin = {"builtin"} if self.built_in else set()
        return {self.entry_point, owner, f"{owner}:{self.entry_point}"} | builtin

    def is_called(self, name: str) -> bool:
        return bool({name, canonical(name)} & self.names)

    def params(self) -> dict[str, str]:
        """What a content key takes in."""
        return dataclasses.asdict(self)


def canonical(distribution: str) -> str:
    """The one spelling of a distribution's name."""
    return re.sub(r"[-_.]+", "-", distribution).lower()


def source_digest(kind: type) -> str:
    """A hash of the Python sources that define a class and what it inherits, the core and Python's own left out.

    An editable installation changes without a new version, so a version alone would not tell results apart.
    """
    homes = [home for home in map(_home, kind.__mro__) if home not in sys.stdlib_module_names]
    inherited = sorted({home for home in homes if home != "advbench"} - {_home(kind)})
    parts = [_digest(home) or _own_source(kind, home) for home in [_home(kind), *inherited]]
    return parts[0] if len(parts) == 1 else hashlib.sha256("".join(parts).encode()).hexdigest()


def _home(kind: type) -> str:
    """The outermost package that has a file of its own (a namespace package belongs to nobody), or the module."""
    parts = kind.__module__.split(".")
    paths = [".".join(parts[:end]) for end in range(1, len(parts) + 1)]
    return next((path for path in paths if getattr(sys.modules.get(path), "__file__", None)), kind.__module__)


@functools.cache
def _digest(module: str) -> str:
    file = getattr(sys.modules.get(module), "__file__", None)
    if not file or not Path(file).is_file():
        return ""
    root = Path(file).parent
    package = hasattr(sys.modules[module], "__path__")
    sources = {path.relative_to(root).as_posix(): path for path in (root.rglob("*.py") if package else [Path(file)])}
    digest = hashlib.sha256()
    for name, path in sorted(sources.items()):
        content = path.read_bytes()
        digest.update(f"{name}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()


def _own_source(kind: type, home: str) -> str:
    """The text of a class that no file holds (a notebook's), where Python still knows it."""
    try:
        return hashlib.sha256(inspect.getsource(kind).encode()).hexdigest() if _home(kind) == home else ""
    except (OSError, TypeError):
        return ""
