"""What the last full discovery found, for `--help`, completion and `plugins`: kept in the cache, believed by no run.

Loading plugins means loading torch, which takes seconds. Their names change only when what is installed changes, so
they are written down beside a fingerprint of the installed plugins, and read again while that stays the same.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import Distribution
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from advbench import hooks
from advbench.cache import cache_folder, replace_file
from advbench.errors import AdvbenchError
from advbench.plugins.installed import chosen, installed, restriction

FORMAT = 1


@dataclass(frozen=True)
class Row:
    """An entrant or a command, for `advbench plugins`."""

    kind: str
    label: str
    summary: str
    reference: str
    distribution: str
    version: str
    entry_point: str


@dataclass(frozen=True)
class Memory:
    """What a full discovery found, as it is written down."""

    entrants: tuple[Row, ...]
    """And commands, who shipped what."""
    commands: Mapping[str, str]
    """Strangers' commands by name, each with its help."""
    whole: bool
    """Whether no plugin was broken; otherwise this is not trusted, since the cause may lie outside the fingerprint."""


def recalled() -> Memory | None:
    """The memory of the plugins that are installed; None where there is none, or it is of others, or unreadable."""
    try:
        content = json.loads(_place().read_bytes())
        if content["fingerprint"] != fingerprint():
            return None
        return _memory(content)
    except (OSError, ValueError, TypeError, LookupError):
        return None


def remember(memory: Memory) -> None:
    """Write a memory down, where that is possible."""
    content = {"fingerprint": fingerprint(), **dataclasses.asdict(memory)}
    with contextlib.suppress(OSError, AdvbenchError):
        replace_file(_place(), json.dumps(content, ensure_ascii=False).encode())


def _memory(content: Mapping[str, Any]) -> Memory:
    """A memory out of a file that may say anything; the errors of what is none are the caller's."""
    rows, commands = tuple(Row(**row) for row in content["entrants"]), dict(content["commands"])
    texts = [*commands.items(), *(dataclasses.astuple(row) for row in rows)]
    if not all(isinstance(word, str) for words in texts for word in words) or not isinstance(content["whole"], bool):
        raise TypeError("not a memory")
    return Memory(rows, commands, content["whole"])


def _place() -> Path:
    """A file for every environment, and for every choice of plugins in it."""
    name = hashlib.sha256(f"{sys.prefix}\0{restriction()}".encode()).hexdigest()[:16]
    return cache_folder() / "plugins" / f"{name}.json"


def fingerprint() -> str:
    """A digest of all that decides what a full discovery finds, as far as it can be told without loading any of it.

    Distributions by name, since a plugin may fail for the lack or the version of any; those with plugins also by the
    record of their files, and by the times of sources that are no part of that record (editable installations).
    """
    points = [point for group in (hooks.GROUP, hooks.COMMAND_GROUP) for point in chosen(installed(group))]
    parts: list[object] = [FORMAT, sys.version, restriction(), sorted(_distributions())]
    packages = {"advbench": ""}  # the core's own edits decide, too
    records: dict[str, str] = {}
    for point, origin in points:
        record = records.setdefault(f"{origin.distribution} {origin.version}", _record(point.dist))
        packages[point.module.partition(".")[0]] = record
        if origin.built_in:
            packages["advbench"] = record
        parts.append((point.group, point.value, dataclasses.astuple(origin), _digest(record)))
    for package, record in sorted(packages.items()):
        parts.append((package, *(() if _is_recorded(package, record) else _times(package))))
    return _digest(repr(parts))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode(errors="backslashreplace")).hexdigest()


def _distributions() -> Iterator[str]:
    """Names and versions of all that is installed, as their folders say them."""
    for folder in dict.fromkeys(sys.path):
        with contextlib.suppress(OSError):
            for name in os.listdir(folder or "."):  # noqa: PTH208  # twenty times as quick as a Path for each
                if name.endswith((".dist-info", ".egg-info")):
                    yield name


def _record(distribution: Distribution | None) -> str:
    try:
        return (distribution.read_text("RECORD") if distribution else "") or ""
    except Exception:  # metadata may be broken in any way
        return ""


def _is_recorded(package: str, record: str) -> bool:
    """Whether the record holds the package's files, each with its digest: not so where an installation is editable."""
    return any(line.startswith((f"{package}/__init__.py,", f"{package}.py,")) for line in record.splitlines())


def _times(package: str) -> Iterator[tuple[str, int, int]]:
    """When each source of a package was changed, and how large it is."""
    try:
        spec = find_spec(package)
    except Exception:  # a stranger's finder
        spec = None
    places = (spec.submodule_search_locations or [spec.origin or ""]) if spec else []
    for place in map(Path, places):
        for path in sorted(place.rglob("*.py")) if place.is_dir() else [place]:
            with contextlib.suppress(OSError):
                status = path.stat()
                yield str(path), status.st_mtime_ns, status.st_size
