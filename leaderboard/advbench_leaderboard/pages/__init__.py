"""Pages: one module a kind, each with `pages(site)`; the list of them is in `render`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Page:
    """A template to be filled; `path` is relative to the site's root, with `/`.

    What it is filled with is worked out when it is: where that fails, this page alone says so.
    """

    path: str
    template: str
    made: Callable[[], Mapping[str, Any]] = dict


@dataclass(frozen=True)
class Raw:
    """A file that is written as it is."""

    path: str
    data: bytes
