"""Under what the numbers were made."""

from __future__ import annotations

import shlex
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from advbench.store import Store


@dataclass(frozen=True)
class Plugin:
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
    plugins: tuple[Plugin, ...]
    cells: int
    """So many that it ended, whatever became of them."""

    @property
    def can_be_called(self) -> bool:
        """Whether its command is one call of advbench and nothing else: whoever ran it may have written anything."""
        try:
            words = shlex.split(self.command or "")
        except ValueError:
            return False
        return words[:1] == ["advbench"] and shlex.join(words) == self.command


def cores(store: Store, known: Iterable[Run]) -> dict[str, frozenset[str]]:
    """By cell: digests of the core that its shards were made with, empty for a run that says none."""
    digests = {run.id: str(run.versions.get("core") or "") for run in known}
    found: dict[str, set[str]] = defaultdict(set)
    for row in store.rows("SELECT DISTINCT c.key, s.run FROM shards s JOIN cells c ON c.id = s.cell"):
        found[row["key"]].add(digests.get(row["run"], ""))
    return {cell: frozenset(some) for cell, some in found.items()}


def runs(store: Store) -> tuple[Run, ...]:
    """The newest first."""
    plugins: dict[str, list[Plugin]] = defaultdict(list)
    for row in store.rows("SELECT * FROM plugins ORDER BY run, kind, label"):
        words = [row[name] or "" for name in ("kind", "label", "distribution", "version", "digest", "error")]
        plugins[row["run"]].append(Plugin(*words))
    return tuple(
        Run(
            id=row["id"],
            started=row["started"],
            ended=row["ended"],
            how=row["how"],
            suite=row["suite"],
            settings=row["settings"] or {},
            seed=row["seed"],
            protocol=row["protocol"],
            versions=row["versions"] or {},
            hardware=row["hardware"] or {},
            command=row["command"],
            plugins=tuple(plugins[row["id"]]),
            cells=row["cells"],
        )
        for row in store.rows("""
            SELECT r.*, e.at AS ended, e.how,
              (SELECT count(DISTINCT c.cell) FROM cell_events c WHERE c.run = r.id) AS cells
            FROM runs r LEFT JOIN run_ends e ON e.run = r.id ORDER BY r.started DESC, r.id
        """)
    )
