"""The pictures of the README, from the suite `quick`: `make pictures`.

Nothing in them is chosen by how it came out. The board is a page of the leaderboard. The digits are the first that
every cell of a run stores as pictures, under the attack that decides the target's number on each board.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

import advbench_leaderboard
from advbench_leaderboard import png
from advbench_leaderboard.facts.boards import Board
from advbench_leaderboard.facts.exhibits import Exhibit
from advbench_leaderboard.site import Site, opened

HERE = Path(__file__).parent
STYLE = Path(advbench_leaderboard.__file__).parent / "static/site.css"
SCHEMES = ("light", "dark")
WIDTH = 1090
"""Room for the board's columns; a README shows them a fifth smaller."""
SHARP = 1.25
"""Pixels of the picture to one of the page: sharp on most screens, and small enough to be kept in a repository."""
HIDDEN = ("undetected", "alarms", "transfer", "forwards", "backwards", "seconds")
"""Columns of the board that would not fit beside its numbers."""
EXAMPLES = 8
STRIP = """
table { width: auto } td, tbody th { border: 0; padding: .25rem .4rem; vertical-align: middle }
tbody th { min-width: 13rem; font-weight: 500 } tbody th small { display: block; color: var(--soft); font-weight: 400 }
td { text-align: center; color: var(--soft) } td img { display: block; image-rendering: pixelated }
td.fooled { color: var(--bad); font-weight: 600 }
body { padding: .6rem; width: max-content }
"""


@dataclass(frozen=True)
class Row:
    """One board, and its first examples under the attack that leaves least of the target there."""

    board: Board
    attack: str
    shown: Sequence[Exhibit]


def rows(site: Site, target: str) -> list[Row]:
    made = []
    for board in site.boards:
        deciding = next((entry.deciding for entry in board.entries if entry.target.label == target), None)
        if deciding is not None:
            number = site.cells[deciding.cell].number
            made.append(Row(board, deciding.entrant, site.exhibits([number]).get(number, [])[:EXAMPLES]))
    if not made:
        raise SystemExit(f"no board ranks {target!r}")
    return made


def strip(site: Site, target: str) -> Markup:
    """A page of nothing but digits: as they are, and as the target was shown them in every ball."""
    found = rows(site, target)
    dataset = found[0].board.dataset
    shape = (dataset.shape[0], dataset.shape[1], dataset.shape[2])
    size = shape[0] * shape[1] * shape[2]

    def picture(packed: bytes, answer: int | None, label: int | None) -> Markup:
        return Markup('<td class="{}"><img src="{}" alt="" width="64" height="64">{}</td>').format(
            "right" if answer == label else "fooled",
            png.address(png.inflated(packed, size), shape),
            site.class_name(dataset.fingerprint, answer),
        )

    def line(name: str, words: str, pictures: Iterable[Markup]) -> Markup:
        return Markup("<tr><th>{}<small>{}</small></th>{}</tr>").format(name, words, Markup("").join(pictures))

    lines = [line("unchanged", f"what {target} says", (picture(e.original, e.clean, e.label) for e in found[0].shown))]
    for row in found:
        if row.board.dataset == dataset:
            pictures = (picture(e.perturbed, e.predicted, e.label) for e in row.shown)
            lines.append(line(row.board.ball, row.attack, pictures))
    style = Markup(STYLE.read_text(encoding="utf-8") + STRIP)
    page = Markup(
        "<!doctype html><meta charset=utf-8><title>{}</title><style>{}</style><table><tbody>{}</tbody></table>"
    )
    return page.format(f"First examples of {target}", style, Markup("").join(lines))


@contextmanager
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if chromium is None:
        raise SystemExit("install chromium: it draws the pictures")
    with sync_playwright() as driver:
        launched = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])  # root has no sandbox
        try:
            yield launched
        finally:
            launched.close()


def photograph(chromium: Any, address: str, element: str, name: str, out: Path) -> None:
    """An element of a page in both colour schemes: `NAME-light.png`, `NAME-dark.png`."""
    for scheme in SCHEMES:
        size = {"width": WIDTH, "height": 800}
        context = chromium.new_context(color_scheme=scheme, device_scale_factor=SHARP, viewport=size)
        page = context.new_page()
        page.goto(address)
        page.locator(element).first.screenshot(path=str(out / f"{name}-{scheme}.png"))
        context.close()


def draw(database: Path, out: Path, board: str, target: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        pages = Path(folder)
        advbench("render", "--db", database, "--out", pages)
        with opened(database) as site:
            key = next((one.key for one in site.boards if one.name == board), None)
            if key is None:
                raise SystemExit(f"no board {board!r} in {database}")
            ranking = pages / site.board_file(key)
            (pages / "strip.html").write_text(strip(site, target), encoding="utf-8")
        hidden = "#hide=[" + ",".join(f'"{name}"' for name in HIDDEN) + "]"
        with browser() as chromium:
            photograph(chromium, ranking.as_uri() + hidden, "#entries", "board", out)
            photograph(chromium, (pages / "strip.html").as_uri(), "body", "strip", out)


def advbench(*arguments: object) -> None:
    subprocess.run([sys.executable, "-m", "advbench", *map(str, arguments)], check=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--db", type=Path, help="a database that is there; otherwise `quick` is run")
    parser.add_argument("--out", type=Path, default=HERE)
    parser.add_argument("--board", default="mnist-5k/linf/0.2")
    parser.add_argument("--target", default="small-cnn")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        database = chosen.db or Path(folder) / "quick.sqlite"
        if chosen.db is None:
            advbench("run", "quick", "--db", database)
        draw(database, chosen.out, chosen.board, chosen.target)


if __name__ == "__main__":
    main()
