"""Pages: one module a kind, each with `pages(site)`; the list of them is in `render`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Page:
    """A template to be filled; `path` is relative to the site's root, with `/`."""

    path: str
    template: str
    context: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Raw:
    """A file that is written as it is."""

    path: str
    data: bytes
