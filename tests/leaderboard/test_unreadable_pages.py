"""A page whose facts can't be read says so, with the reason; the others are made, and the exit code tells."""

from __future__ import annotations

import sqlite3
import time
import tracemalloc
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from conftest import Advbench, Results
from tampering import by_hand, edit

from advbench.store import Store
from advbench_leaderboard.facts import classes
from advbench_leaderboard.facts.boards import Board, Entry
from advbench_leaderboard.facts.cells import Cell
from advbench_leaderboard.facts.classes import Turns
from advbench_leaderboard.render import render


@pytest.mark.parametrize(
    ("sql", "words"),
    [
        ("UPDATE datasets SET shape = '\"abc\"'", "the column shape should hold a list"),
        ("UPDATE datasets SET classes = '{'", "the column classes should hold JSON"),
        ("UPDATE targets SET recipe = '[' WHERE id = 1", "the column recipe should hold JSON"),
        ("UPDATE runs SET settings = '3'", "the column settings should hold a mapping"),
        ("UPDATE runs SET versions = 'x'", "the column versions should hold JSON"),
        ("UPDATE boards SET required = 'x' WHERE eps = 1", "the column required should hold JSON"),
        ("UPDATE cells SET count = 0 WHERE id = 1", "cells.count must be a whole number from 1"),
        ("UPDATE shards SET forwards = 9000000000000000000", "shards.forwards must be a whole number"),
        ("UPDATE cell_events SET at = 'x' WHERE id = 1", "cell_events.at must be a time"),
    ],
)
def test_a_row_that_can_not_be_read_costs_itself_and_not_the_site(
    advbench: Advbench, results: Results, tmp_path: Path, sql: str, words: str
) -> None:
    path = results.copy(tmp_path)
    edit(path, sql)
    done = advbench("render", "--db", path, "--out", tmp_path / "site")
    assert done.code == 1, done.out + done.err
    assert words in done.out
    assert "Traceback" not in done.out + done.err
    assert "left out" in (tmp_path / "site" / "index.html").read_text()
    assert words in (tmp_path / "site" / "failures.html").read_text()
    assert (tmp_path / "site" / "provenance.html").is_file()
    assert list((tmp_path / "site").glob("boards/*.html"))


def test_a_page_that_can_not_be_made_says_why_and_the_others_are_there(
    results: Results, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = classes.turns

    def unreadable(store: Store, board: Board, entry: Entry, cells: Mapping[str, Cell]) -> Iterator[Turns]:
        if entry.target.label == "toy":
            raise ValueError("no such class: \x1b[31m<script>")
        return whole(store, board, entry, cells)

    monkeypatch.setattr(classes, "turns", unreadable)
    made = render(results.db, tmp_path / "site")
    pages = [text for text in made.problems if text.startswith("targets/toy-")]
    assert len(pages) == 1
    assert "no such class" in pages[0]
    name = pages[0].partition(" ")[0]
    text = (tmp_path / "site" / name).read_text()
    assert "This page can’t be made" in text
    assert "&lt;script&gt;" in text
    assert "<script>" not in text
    other = [path for path in (tmp_path / "site/targets").glob("*.html") if path.name != Path(name).name]
    assert len(other) == 3
    assert not any("can’t be made" in path.read_text() for path in other)
    assert "This page can’t be made" in (tmp_path / "site/downloads.html").read_text()


def bomb(size: int) -> bytes:
    packing = zlib.compressobj(9)
    return b"".join([*(packing.compress(bytes(1 << 20)) for _ in range(size >> 20)), packing.flush()])


@pytest.mark.parametrize("error", [TypeError("no \x1b[31mnumber"), KeyError("cell"), sqlite3.OperationalError("odd")])
def test_facts_that_can_not_be_gathered_are_one_line_and_leave_the_old_pages_whole(
    advbench: Advbench, results: Results, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    site = tmp_path / "site"
    render(results.db, site)
    before = {path: path.read_bytes() for path in site.rglob("*") if path.is_file()}

    def fails(*_: object) -> object:
        raise error

    monkeypatch.setattr("advbench_leaderboard.facts.runs.runs", fails)
    for out in (site, tmp_path / "new"):
        done = advbench("render", "--db", results.db, "--out", out)
        assert (done.code, done.out) == (2, "")
        assert f"{results.db}: no pages can be made of it ({type(error).__name__}" in done.complaint
        assert f"advbench merge NEW.sqlite {results.db}" in done.complaint
        assert "\x1b" not in done.err
    assert {path: path.read_bytes() for path in site.rglob("*") if path.is_file()} == before
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("shape", ["[1, 8, 8]", "[1, 8192, 8192]"])
def test_pictures_that_unpack_to_a_quarter_of_a_gigabyte_cost_nothing(
    results: Results, tmp_path: Path, shape: str
) -> None:
    path = results.copy(tmp_path)
    edit(path, f"UPDATE datasets SET shape = '{shape}'")
    packed = bomb(256 << 20)
    with by_hand(path) as connection:
        connection.execute("UPDATE exhibits SET original = ?, perturbed = ?, moved = ?", (packed, packed, packed))
    tracemalloc.start()
    began = time.monotonic()
    try:
        made = render(path, tmp_path / "site")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert made.problems == ()
    assert time.monotonic() - began < 60
    assert peak < 192 << 20
    (page, *_) = (tmp_path / "site/cells").glob("*.html")
    assert "data:image/png" not in page.read_text()
