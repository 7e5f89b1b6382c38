"""A study whose process is killed again and again, in cells and in analyses."""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from processes import Child, script
from toy_study import told

from advbench.store import Store

CHILD = """
import sys
sys.path.insert(0, {folder!r})
from dataclasses import replace
from toy_study import Slowly
from advbench.plugins.discovery import discover
from advbench.run.report import Reporter
from advbench.run.session import Settings
from advbench.store import Store
from advbench.studies.performance import outline, perform_study
study = Slowly(seconds={seconds})
registry = replace(discover(), studies={{study.label: study}})
laid_out = outline(study, "smoke", registry)
with Store.open({database!r}) as store:
    print("ready", flush=True)
    perform_study(laid_out, store, registry, lambda plan: Settings(), Reporter())
    print("ended", flush=True)
"""
SECONDS = 1.0
"""That the slow analysis takes."""


def start(database: Path) -> Child:
    folder = Path(__file__).parents[1]
    return script(CHILD.format(folder=str(folder), database=str(database), seconds=SECONDS))


def ended(child: Child) -> None:
    out, err = child.communicate(timeout=300)
    assert "ended" in out, out + err


def so_far(database: Path) -> tuple[int, int]:
    """Shards and analyses that are stored."""
    with Store.open(database, readonly=True) as store:
        ((shards, analyses),) = [
            tuple(row.values())
            for row in store.rows("SELECT (SELECT count(*) FROM shards) AS s, (SELECT count(*) FROM analyses) AS a")
        ]
    return shards, analyses


@pytest.mark.slow
def test_killed_in_cells_and_analyses_it_finds_what_it_would_have(tmp_path: Path) -> None:
    kills = int(os.environ.get("ADVBENCH_KILLS", "3"))
    whole, cut = tmp_path / "whole.sqlite", tmp_path / "cut.sqlite"
    began = time.monotonic()
    ended(start(whole))
    seconds = time.monotonic() - began
    chance, places = random.Random(kills), set()
    for _ in range(kills):
        child = start(cut)
        assert child.stdout.readline() == "ready\n"
        time.sleep(chance.uniform(0.0, seconds))
        child.send_signal(signal.SIGKILL)
        child.communicate()
        places.add(so_far(cut))
    ended(start(cut))
    with Store.open(whole) as one, Store.open(cut) as other:
        stored: list[Any] = told(one)
        assert told(other) == stored
        assert other.rows("PRAGMA integrity_check") == [{"integrity_check": "ok"}]
    assert places - {(0, 0)}, "no kill landed after something was stored"
