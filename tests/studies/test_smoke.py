"""Every study at its smallest level: all that its paper shows has something of ours, and nothing has failed."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from advbench.plugins.discovery import discover
from advbench.rates.studies import Standing, standing
from advbench.store import Store
from advbench.store.study_rows import Performed, found, performed

pytestmark = pytest.mark.slow  # three minutes of two processes
NAMES = sorted(discover().studies)


@pytest.fixture(scope="module")
def database(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `advbench study all --level smoke` leaves, all of it finished."""
    folder = tmp_path_factory.mktemp("studies")
    command = [
        sys.executable,
        "-m",
        "advbench",
        "study",
        "all",
        "--level",
        "smoke",
        "--jobs",
        "2",
        "--db",
        "all.sqlite",
    ]
    done = subprocess.run(
        [*command, "--offline"], capture_output=True, text=True, cwd=folder, stdin=subprocess.DEVNULL, env=os.environ
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "all.sqlite"


@pytest.mark.parametrize("name", NAMES)
def test_no_section_is_empty(database: Path, name: str) -> None:
    with Store.open(database, readonly=True) as store:
        (study,) = [one for one in performed(store) if one.row.name == name]
        assert [one for one in study.analyses if one.reason] == []
        assert [empty for section in study.row.page["sections"] for empty in _empty(store, study, section)] == []


def _empty(store: Store, study: Performed, section: dict[str, Any]) -> list[str]:
    """What the section shows and has nothing of."""
    keys = {one.label: one.analysis for one in study.analyses if one.analysis}
    lost = []
    for one in section["shows"]:
        if one["what"] in ("chart", "gallery", "ours"):
            there = dataclasses.asdict(found(store, keys[one["label"]]))
            kind = {"chart": "points", "gallery": "pictures", "ours": "findings"}[one["what"]]
            if not there[kind]:
                lost.append(f"{section['title']}: {one['label']} has no {kind}")
    return lost


@pytest.mark.parametrize("name", NAMES)
def test_every_number_that_is_bound_has_one_of_ours(database: Path, name: str) -> None:
    with Store.open(database, readonly=True) as store:
        study = _standing(store, name)
        lost = [(one.published.place, one.published.columns) for one in study.numbers if _lost(one)]
        assert lost == []
        assert study.count("absent") < len(study.numbers)


def _standing(store: Store, name: str) -> Standing:
    return next(one for one in standing(store) if one.name == name)


def _lost(one: Any) -> bool:
    """Bound, and yet without a finding; one whose value could not be told is there."""
    return one.published.label is not None and one.ours is None
