"""Under what a run was made: its suite, the machine, and every plugin with its version and source."""

from __future__ import annotations

import shlex
from dataclasses import replace
from typing import Any

from advbench.plugins.origin import Origin
from advbench.plugins.registry import Registry
from advbench.protocol import PROTOCOL
from advbench.run.hardware import describe_hardware, describe_versions
from advbench.run.session import Session
from advbench.store.rows import PluginRow, RunRow
from advbench.suite.suite import Suite


def record_run(session: Session, asked: Suite, determinism: dict[str, Any]) -> None:
    """Write that a run begins, before it does anything; `asked` is its suite as somebody wrote it."""
    session.store.begin_run(
        RunRow(
            id=session.summary.run,
            suite=asked.name,
            settings={**asked.settings, "determinism": determinism},
            seed=asked.seed,
            protocol=PROTOCOL,
            versions=describe_versions(),
            hardware=describe_hardware(session.settings.device),
            command=without_data_folders(session.settings.command),
        )
    )
    session.store.add_plugins(session.summary.run, plugin_rows(session.registry))


def without_data_folders(command: str) -> str:
    """The command without `--data`: a database is published, and where somebody keeps data is nobody's business."""
    kept: list[str] = []
    words = iter(shlex.split(command))
    for word in words:
        if word == "--data":
            next(words, None)
        elif not word.startswith("--data="):
            kept.append(word)
    return shlex.join(kept)


def plugin_rows(registry: Registry) -> list[PluginRow]:
    """Who took part, in which version and with which source, and who was set aside."""
    rows = []
    for kind in ("attack", "model", "defense", "data set", "threat", "study"):
        for label, plugin in registry.of_kind(kind).items():
            row = _plugin_row(kind, label, registry.origin(plugin), None)
            rows.append(replace(row, summary=plugin.summary, reference=plugin.reference or None))
    rows += [_plugin_row("broken", b.origin.entry_point, b.origin, b.error) for b in registry.broken]
    return rows


def _plugin_row(kind: str, label: str, origin: Origin, error: str | None) -> PluginRow:
    return PluginRow(kind, label, origin.distribution, origin.version, origin.digest, error)
