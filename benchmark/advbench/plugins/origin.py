"""Who shipped a plugin, in which version and with which source."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import Distribution
from typing import Any

from advbench.errors import printable


@dataclass(frozen=True)
class Origin:
    """Who shipped a plugin."""

    distribution: str
    version: str
    entry_point: str
    digest: str = ""
    """The digest of the Python sources that its outcomes depend on (`sources`); empty where there are none to read."""

    @classmethod
    def of(cls, distribution: Distribution | None, entry_point: str) -> Origin:
        """An entry point of a distribution whose metadata may be broken."""
        try:
            name = str(distribution.name) if distribution else "?"
            version = str(distribution.version) if distribution else "?"
        except Exception:  # metadata without a name or a version
            name, version = "?", "?"
        return cls(printable(name), printable(version), printable(entry_point))

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
        """The origin as it is stored."""
        return dataclasses.asdict(self)


def canonical(distribution: str) -> str:
    """The one spelling of a distribution's name."""
    return re.sub(r"[-_.]+", "-", distribution).lower()


def identity(origin: Mapping[str, Any] | None) -> dict[str, Any]:
    """What a key takes in of a stored origin: the version only where no source tells two versions apart."""
    origin = origin or {}
    parts = ("distribution", "digest") if origin.get("digest") else ("distribution", "version")
    return {part: origin.get(part) for part in parts}
