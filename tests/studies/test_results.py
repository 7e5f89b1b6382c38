"""Kept results: compressed, joined again, and nobody's file lost."""

from __future__ import annotations

import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import study_facts

from advbench import AdvbenchError
from advbench.rates.studies import standing
from advbench.store import Store

HERE = Path(__file__).parents[2] / "results"


@pytest.fixture
def keep() -> Callable[..., Path]:
    return runpy.run_path(str(HERE / "keep.py"))["keep"]  # type: ignore[no-any-return]


@pytest.fixture
def join() -> Callable[..., Any]:
    return runpy.run_path(str(HERE / "join.py"))["join"]  # type: ignore[no-any-return]


def test_what_is_kept_is_joined_as_often_as_asked(
    tmp_path: Path, keep: Callable[..., Path], join: Callable[..., Any]
) -> None:
    with Store.open(tmp_path / "shapes.sqlite") as store:
        study_facts.fill(store)
        stood = [one.words for one in standing(store)]
    kept = keep("shapes", tmp_path / "shapes.sqlite", tmp_path)
    assert sorted(one.name for one in tmp_path.iterdir()) == ["shapes.sqlite", kept.name]
    for _ in range(2):
        assert join(tmp_path / "build" / "all.sqlite", tmp_path) == ["shapes"]
    with Store.open(tmp_path / "build" / "all.sqlite", readonly=True) as store:
        assert [one.words for one in standing(store)] == stood


def test_nothing_is_lost_by_a_wrong_name(tmp_path: Path, keep: Callable[..., Path], join: Callable[..., Any]) -> None:
    with pytest.raises(AdvbenchError, match=r"nowhere\.sqlite"):
        keep("shapes", tmp_path / "nowhere.sqlite", tmp_path)
    Store.open(tmp_path / "empty.sqlite").close()
    with pytest.raises(AdvbenchError, match="holds no study"):
        keep("shapes", tmp_path / "empty.sqlite", tmp_path)
    with pytest.raises(AdvbenchError, match="not a path"):
        keep("../shapes", tmp_path / "empty.sqlite", tmp_path)
    before = (tmp_path / "empty.sqlite").read_bytes()
    (tmp_path / "empty.sqlite.notes").write_text("mine")
    with pytest.raises(AdvbenchError, match="not from here"):
        join(tmp_path / "empty.sqlite", tmp_path)
    assert (tmp_path / "empty.sqlite").read_bytes() == before
    assert (tmp_path / "empty.sqlite.notes").read_text() == "mine"
    assert not (tmp_path / "nowhere.sqlite").exists()
