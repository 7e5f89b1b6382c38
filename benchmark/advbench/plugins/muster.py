"""What results depend on at one place, held against another: Python, torch, the core, and plugins by their sources."""

from __future__ import annotations

import importlib
import platform
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from advbench.plugin import Plugin
from advbench.plugins.registry import Registry
from advbench.plugins.sources import core_digest, source_digest


@dataclass(frozen=True)
class Source:
    """A class of plugins, and from what it is made."""

    module: str
    name: str
    distribution: str
    """Who shipped it; empty where no distribution did."""
    version: str
    digest: str
    """Of its sources; empty where there are none to read."""

    def __str__(self) -> str:
        return self.distribution or f"module {self.module}"


@dataclass(frozen=True)
class Muster:
    """Can be pickled and asked elsewhere for the `differences` there."""

    python: str
    torch: str
    core: str
    sources: tuple[Source, ...] = ()

    @classmethod
    def here(cls, plugins: Iterable[Plugin] = (), registry: Registry | None = None) -> Muster:
        """Of this process, with the plugins that results are to be made with."""
        found = {_source(one, registry): None for one in plugins}
        return cls(_python(), _torch(), core_digest(), tuple(one for one in found if one.module != "__main__"))

    def differences(self) -> tuple[str, ...]:
        """What is another one in this process, in words, each once."""
        there = [
            *((f"Python {_python()}, not {self.python}",) if self.python != _python() else ()),
            *((f"torch {_torch()}, not {self.torch}",) if self.torch != _torch() else ()),
            *(("another advbench",) if self.core != core_digest() else ()),
            *(words for one in self.sources if (words := _difference(one))),
        ]
        return tuple(dict.fromkeys(there))


def _source(plugin: Plugin, registry: Registry | None) -> Source:
    kind, origin = type(plugin), None if registry is None else registry.origin(plugin)
    owner = ("", "") if origin is None else (origin.distribution, origin.version)
    return Source(kind.__module__, kind.__qualname__, *owner, source_digest(kind))


def _difference(one: Source) -> str:
    try:
        kind: Any = importlib.import_module(one.module)
        for part in one.name.split("."):
            kind = getattr(kind, part)
    except Exception:  # whatever a module raises that is not as it should be
        return f"no {one} with {one.name}"
    if not one.digest and one.distribution:
        try:
            return "" if version(one.distribution) == one.version else f"another version of {one}"
        except PackageNotFoundError:
            return f"no {one}"
    return "" if source_digest(kind) == one.digest else f"another {one}"


def _python() -> str:
    """Bytes that one version pickles mean the same to another of its patches."""
    return ".".join(platform.python_version_tuple()[:2])


def _torch() -> str:
    """Without the build, which does not change what is computed on one kind of device."""
    return version("torch").partition("+")[0]
