"""No number, word or mark is cut: on a phone, on a screen, on any page; and what decides is seen first."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gallery_facts
import pytest
import site_facts
from browsing import Browser, chromium
from site_facts import COUNT

from advbench.store import Store
from advbench_leaderboard.render import render

pytestmark = pytest.mark.slow  # needs Chromium

OPEN = "for (const one of document.querySelectorAll('main details:not(.controls *)')) one.open = true"
CUT = """async () => {
    const found = [], done = () => new Promise(then => requestAnimationFrame(() => requestAnimationFrame(then)));
    for (const frame of document.querySelectorAll('.scroll')) {
        for (const far of [0, 130, 100000]) {
            frame.scrollTo({ left: far });
            await done();
            const sticks = cell => getComputedStyle(cell).position === 'sticky';
            const edge = frame.getBoundingClientRect(), fixed = [...frame.querySelectorAll('tr:first-child > *')]
                .filter(sticks).map(cell => cell.getBoundingClientRect().right);
            const left = Math.max(edge.left, ...fixed);
            for (const cell of frame.querySelectorAll('th, td')) {
                if (cell.scrollWidth > cell.clientWidth + 1) found.push(`${cell.textContent.trim()} leaves its cell`);
                if (sticks(cell)) continue;
                const words = document.createRange();
                words.selectNodeContents(cell);
                for (const box of words.getClientRects()) {
                    const cut = side => box.left < side - 1 && box.right > side + 1;
                    if (box.width && (cut(edge.right) || cut(left))) found.push(`${cell.textContent.trim()} at ${far}`);
                }
            }
        }
    }
    return [...new Set(found)];
}"""
OUTSIDE = """() => {
    const found = [];
    for (const figure of document.querySelectorAll('svg.figure')) {
        const frame = figure.getBoundingClientRect(), names = figure.querySelector('title').textContent;
        const holder = figure.closest('.scroll, figure').getBoundingClientRect();
        if (frame.right > holder.right + 1) found.push(`${names}: ${frame.width} in ${holder.width}`);
        for (const one of figure.querySelectorAll('text, use, circle, path, rect')) {
            const box = one.getBoundingClientRect();
            if (!one.checkVisibility() || (!box.width && !box.height)) continue;
            const out = [frame.left - box.left, box.right - frame.right, frame.top - box.top, box.bottom - frame.bottom]
                .map(Math.round);
            if (Math.max(...out) > 1) found.push(`${names}: ${one.outerHTML.slice(0, 90)}: ${out}`);
        }
    }
    return found;
}"""
EMPTY = """() => {
    const nothing = cell => ['', '–'].includes(cell.textContent.trim()) && !cell.querySelector('img');
    return [...document.querySelectorAll('table')].flatMap(table => {
        const rows = [...table.tBodies[0].rows];
        const heads = rows.length ? [...table.tHead.rows[0].cells] : [];
        return heads.filter((head, column) => rows.every(row => nothing(row.cells[column])));
    }).map(head => head.textContent.trim());
}"""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sites that have everything together, one whose targets have no detector, and an aimed one."""
    folder = tmp_path_factory.mktemp("figures")
    site_facts.fill(folder / "site.sqlite")
    site_facts.merge(folder / "site.sqlite", {"strong": 18, "strong2": 3, "lacking": 20})
    with Store.open(folder / "site.sqlite") as store:
        radii = [{"example": e, "family": "linf", "radius": 0.3, "predicted": 0} for e in range(COUNT)]
        store.add_certificates("strong", radii)
    gallery_facts.fill(folder / "gallery.sqlite")
    site_facts.aim(folder / "aimed.sqlite")
    for database in folder.glob("*.sqlite"):
        render(database, folder / "sites" / database.stem)
    return folder / "sites"


@pytest.fixture(scope="module")
def launched() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def browser(launched: Browser) -> Iterator[Browser]:
    yield launched
    launched.close_tabs()


def pages(root: Path) -> list[Path]:
    """Of every folder the two largest, and every page that stands alone."""
    folders: dict[Path, list[Path]] = {}
    for path in sorted(root.rglob("*.html"), key=lambda path: (-path.stat().st_size, path)):
        folders.setdefault(path.parent, []).append(path)
    return [path for folder, found in folders.items() for path in found[: None if folder.parent == root else 2]]


@pytest.mark.slow
@pytest.mark.parametrize("width", [pytest.param(390, marks=pytest.mark.exhaustive), 320])
def test_a_phone_shows_every_number_whole_wherever_a_table_is_moved_to(
    browser: Browser, root: Path, width: int
) -> None:
    tab, cut = browser.tab(viewport={"width": width, "height": 800}), {}
    for path in pages(root):
        page = tab.open(path.as_uri())
        page.evaluate(OPEN)
        found = page.evaluate(CUT)
        if found:
            cut[path.relative_to(root).as_posix()] = found
    assert not cut


@pytest.mark.parametrize(
    "width", [1400, pytest.param(390, marks=pytest.mark.exhaustive), pytest.param(320, marks=pytest.mark.slow)]
)
def test_figures_hold_all_their_marks_and_words_and_fit_the_screen(browser: Browser, root: Path, width: int) -> None:
    tab, outside = browser.tab(viewport={"width": width, "height": 800}), {}
    for path in pages(root):
        page = tab.open(path.as_uri())
        for box in page.locator("figure .legend input:not(:checked):enabled").all():
            box.check()
        found = page.evaluate(OUTSIDE)
        if found:
            outside[path.relative_to(root).as_posix()] = found
    assert not outside


@pytest.mark.slow
def test_no_column_is_empty_for_everybody(browser: Browser, root: Path) -> None:
    tab = browser.tab()
    empty = {
        path.relative_to(root).as_posix(): tab.open(path.as_uri()).evaluate(EMPTY) for path in root.rglob("*.html")
    }
    assert {path: heads for path, heads in empty.items() if heads} == {}


def seen(page: Any, what: str) -> bool:
    """Whether it lies within the screen and within what scrolls, before anybody moves either."""
    return bool(
        page.locator(what).first.evaluate("""one => {
            const box = one.getBoundingClientRect(), frame = one.closest('.scroll').getBoundingClientRect();
            return box.width > 0 && box.left >= frame.left && box.right <= Math.min(frame.right, innerWidth);
        }""")
    )


@pytest.mark.parametrize(("width", "column"), [(1400, True), (390, False)])
def test_the_attack_that_decides_is_seen_without_moving_the_table(
    browser: Browser, root: Path, width: int, column: bool
) -> None:
    (path,) = (root / "site/boards").glob("*.html")
    page = browser.tab(viewport={"width": width, "height": 900}).open(path.as_uri())
    assert " ".join(page.locator("#entries .decides").first.inner_text().split()) == "pgd 90.0"
    assert seen(page, "#entries .decides")
    assert seen(page, "#entries thead th.attack") == column
    assert page.locator("#entries thead th.attack").first.inner_text().strip().endswith("pgd")


def test_detectors_of_few_targets_stand_behind_the_attacks(browser: Browser, root: Path) -> None:
    order = "heads => heads.map(head => head.dataset.column || '')"
    for site, first in (("site", False), ("gallery", True)):  # one of five, and one of two
        for path in (root / site / "boards").glob("*.html"):
            columns = browser.tab().open(path.as_uri()).locator("#entries thead th").evaluate_all(order)
            attack = next(place for place, name in enumerate(columns) if name.startswith("attack"))
            assert (columns.index("undetected") < attack) == first
