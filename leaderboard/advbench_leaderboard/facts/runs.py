"""Runs: by which versions and plugins, and on which machine, the numbers were made."""

from __future__ import annotations

import shlex
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from advbench.store import Store


@dataclass(frozen=True)
class Plugin:
    """A plugin that took part in a run."""

    run: str
    kind: str
    label: str
    distribution: str
    version: str
    digest: str
    error: str
    """Why it was set aside; empty where it was not."""


@dataclass(frozen=True)
class Run:
    id: str
    started: str
    ended: str | None
    how: str | None
    """How it ended; None where it was cut off or still runs."""
    suite: str | None
    settings: Mapping[str, Any]
    seed: int | None
    protocol: int | None
    versions: Mapping[str, Any]
    hardware: Mapping[str, Any]
    command: str | None
    cells: int
    """How many cells it ended, whatever became of them."""

    @property
    def can_be_called(self) -> bool:
        """Whether its command is one call of advbench and nothing else: whoever ran it may have written anything."""
        try:
            words = shlex.split(self.command or "")
        except ValueError:
            return False
        return words[:1] == ["advbench"] and shlex.join(words) == self.command


@dataclass(frozen=True)
class _Crafted:
    cell: str
    run: str | None


def cores(store: Store, known: Iterable[Run]) -> dict[str, frozenset[str]]:
    """By cell: digests of the core that its shards were made with, empty for a run that says none."""
    digests = {run.id: str(run.versions.get("core") or "") for run in known}
    by_cell: dict[str, set[str]] = defaultdict(set)
    for one in store.read(_Crafted, "SELECT DISTINCT c.key AS cell, s.run FROM shards s JOIN cells c ON c.id = s.cell"):
        by_cell[one.cell].add(digests.get(one.run or "", ""))
    return {cell: frozenset(some) for cell, some in by_cell.items()}


def runs(store: Store) -> tuple[Run, ...]:
    """The newest first."""
    newest_first = store.read(
        Run,
        """
        SELECT r.id, r.started, e.at AS ended, e.how, r.suite, coalesce(r.settings, '{}') AS settings, r.seed,
          r.protocol, coalesce(r.versions, '{}') AS versions, coalesce(r.hardware, '{}') AS hardware, r.command,
          (SELECT count(DISTINCT c.cell) FROM cell_events c WHERE c.run = r.id) AS cells
        FROM runs r LEFT JOIN run_ends e ON e.run = r.id ORDER BY r.started DESC, r.id
        """,
    )
    return tuple(newest_first)


def plugins(store: Store) -> tuple[Plugin, ...]:
    """Run by run, in the order of `runs`."""
    by_run = store.read(
        Plugin,
        """
        SELECT p.run, p.kind, p.label, coalesce(p.distribution, '') AS distribution,
          coalesce(p.version, '') AS version, coalesce(p.digest, '') AS digest, coalesce(p.error, '') AS error
        FROM plugins p JOIN runs r ON r.id = p.run ORDER BY r.started DESC, r.id, p.kind, p.label
        """,
    )
    return tuple(by_run)
