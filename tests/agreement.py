"""Runs of blots by two engines, held to be the same: for tests of engines."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from blobs import registry, suite

from advbench.engines.crew import Engine
from advbench.engines.serial import Serial
from advbench.run.report import Summary
from advbench.run.run import run
from advbench.run.session import Settings
from advbench.store import Store, content


def wanted(**changes: Any) -> Any:
    return suite(
        **{"attacks": ["noise", "fgsm", "pgd(steps=5)"], "threats": ["linf(eps=0.2)", "rotate-shift"], **changes}
    )


def evaluate(store: Store, asked: Any, engine: Engine, **settings: Any) -> Summary:
    return run(asked, store, registry(), replace(Settings(), engine=engine, **settings))


def events(store: Store) -> list[tuple[Any, ...]]:
    """How cells ended, in the order in which it was written."""
    sql = "SELECT k.key, e.status, e.reason FROM cell_events e JOIN cells k ON k.id = e.cell ORDER BY e.id"
    return [tuple(row.values()) for row in store.rows(sql)]


def shards_of(store: Store) -> dict[str, int]:
    """How many shards each cell has that was begun."""
    sql = "SELECT k.key, count(s.shard) AS n FROM cells k LEFT JOIN shards s ON s.cell = k.id GROUP BY k.id"
    return {row["key"]: row["n"] for row in store.rows(sql)}


def alike(asked: Any, engine: Engine) -> tuple[Summary, Summary]:
    """Run by both, and held to be the same."""
    with Store.memory() as one, Store.memory() as other:
        serial, apart = evaluate(one, asked, Serial()), evaluate(other, asked, engine)
        assert content(one) == content(other)
        assert events(one) == events(other)
        assert (serial.done, serial.kept, serial.failed) == (apart.done, apart.kept, apart.failed)
        return serial, apart
