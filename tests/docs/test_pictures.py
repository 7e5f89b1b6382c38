"""The README's pictures: what is in them was not chosen, and the command that makes them works."""

from __future__ import annotations

import importlib.util
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from browsing import CHROMIUM
from conftest import ROOT, Results

from advbench_leaderboard import png
from advbench_leaderboard.site import opened

PICTURES = ROOT / "docs/pictures"
LARGEST = 150_000


@pytest.fixture(scope="module")
def make() -> Iterator[ModuleType]:
    spec = importlib.util.spec_from_file_location("make_pictures", PICTURES / "make.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


def size(picture: Path) -> tuple[int, int]:
    head = picture.read_bytes()[:24]
    assert head[:8] == b"\x89PNG\r\n\x1a\n"
    return int.from_bytes(head[16:20], "big"), int.from_bytes(head[20:24], "big")


def test_the_readme_shows_each_picture_in_both_colour_schemes() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for name in ("strip", "board"):
        dark = f'<source media="(prefers-color-scheme: dark)" srcset="docs/pictures/{name}-dark.png">'
        assert re.search(
            rf'<picture>\s*{re.escape(dark)}\s*<img src="docs/pictures/{name}-light\.png"[^>]* alt="', text
        )
        light, dark_one = (PICTURES / f"{name}-{scheme}.png" for scheme in ("light", "dark"))
        assert light.stat().st_size < LARGEST
        assert dark_one.stat().st_size < LARGEST
        assert size(light) == size(dark_one)
        assert light.read_bytes() != dark_one.read_bytes()


def test_the_strip_shows_the_first_examples_of_the_deciding_attacks(make: ModuleType, results: Results) -> None:
    with opened(results.db) as site:
        shown = re.findall(r'<td class="(\w+)"><img src="([^"]+)"', make.strip(site, "toy"))
        boards = [(board, entry) for board in site.boards for entry in board.entries if entry.target.label == "toy"]
        due = []
        for board, entry in boards:
            assert entry.deciding is not None
            number = site.cells[entry.deciding.cell].number
            stored = site.exhibits([number])[number]
            assert [one.example for one in stored] == sorted(site.store.clean(entry.target.key))[: len(stored)]
            shape = board.dataset.shape
            pixels = shape[0] * shape[1] * shape[2]
            for one in stored[: make.EXAMPLES]:
                verdict = "right" if one.predicted == one.label else "fooled"
                due.append((verdict, str(png.address(png.inflated(one.perturbed, pixels), shape))))
    assert len(boards) > 1
    assert shown[len(shown) - len(due) :] == due
    assert len(shown) - len(due) == len(due) // len(boards)  # and once as they are
    assert {verdict for verdict, _ in due} == {"right", "fooled"}


def test_a_target_that_no_board_ranks_is_refused(make: ModuleType, results: Results) -> None:
    with opened(results.db) as site, pytest.raises(SystemExit, match="no board ranks 'nobody'"):
        make.strip(site, "nobody")


@pytest.mark.slow
def test_the_command_makes_all_four(make: ModuleType, results: Results, tmp_path: Path) -> None:
    pytest.importorskip("playwright.sync_api", reason="pip install 'advbench[browser]' to run")
    if CHROMIUM is None:
        pytest.skip("install chromium to run")
    with opened(results.db) as site:
        board = next(board.name for board in site.boards if board.ranked)
    make.draw(results.db, tmp_path, board, "toy")
    made = {path.name for path in tmp_path.iterdir()}
    assert made == {path.name for path in PICTURES.glob("*.png")}
    assert all(min(size(tmp_path / name)) > 100 for name in made)
