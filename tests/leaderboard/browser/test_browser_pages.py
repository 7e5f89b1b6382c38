"""Every kind of page in a browser: complete, quiet, readable for everybody, on any screen and on paper, and inert."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

import gallery_facts
import pytest
import site_facts
from browsing import Browser, chromium, served
from site_facts import COUNT, EVIL, read

from advbench.store import Store
from advbench_leaderboard.pages import studies
from advbench_leaderboard.render import FOLDERS, PAGES, render

pytestmark = pytest.mark.slow  # needs Chromium

PAPER = {"": 297, "a3": 420, "a2": 594, "a1": 841, "a0": 1189}
"""Millimetres, laid across; margins take 24 of them, and an inch has 96 pixels."""
SCRIPTS = ("static/view.js", "static/tables.js", "static/series.js")
WORDS = "main :is(h1, h2, h3, p, a, dt, dd, li, tr, th, td, figure, figcaption)"
HIDDEN = f"[...document.querySelectorAll('{WORDS}')].filter(one => !one.closest('details') && !one.checkVisibility())"


def rendered(folder: Path, evil: str = "") -> Path:
    """Two sites that have everything together, and one of an empty database."""
    site_facts.fill(folder / "site.sqlite", evil=evil)
    with Store.open(folder / "site.sqlite") as store:
        radii = [{"example": e, "family": "linf", "radius": 0.3, "predicted": 0} for e in range(COUNT)]
        store.add_certificates("strong", radii)
    gallery_facts.fill(folder / "gallery.sqlite", evil)
    Store.open(folder / "empty.sqlite").close()
    for database in folder.glob("*.sqlite"):
        render(database, folder / "sites" / database.stem)
    return folder / "sites"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return rendered(tmp_path_factory.mktemp("pages"))


@pytest.fixture(scope="module")
def launched() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def browser(launched: Browser) -> Iterator[Browser]:
    yield launched
    launched.close_tabs()


def every(root: Path) -> list[Path]:
    return sorted(root.rglob("*.html"))


def sample(root: Path) -> list[Path]:
    """Every page, but of the pages of a folder the two largest."""
    folders: dict[Path, list[Path]] = {}
    for path in every(root):
        folders.setdefault(path.parent, []).append(path)
    largest = {folder: sorted(paths, key=lambda path: -path.stat().st_size) for folder, paths in folders.items()}
    return [path for folder, paths in largest.items() for path in paths[: None if folder.parent == root else 2]]


def kinds(root: Path) -> dict[str, Path]:
    """The richest page of every kind, and the empty ones."""
    found: dict[str, Path] = {}
    for path in every(root):
        site, *_, folder = path.relative_to(root).parent.parts * 2
        kind = path.name if path.parent.parent == root else folder
        kind = f"empty {kind}" if site == "empty" else kind
        if kind not in found or path.stat().st_size > found[kind].stat().st_size:
            found[kind] = path
    return found


def test_there_are_pages_of_every_kind(root: Path) -> None:
    alone = {module.NAVIGATION[0] for module in PAGES if hasattr(module, "NAVIGATION")}
    always = {module.NAVIGATION[0] for module in PAGES if hasattr(module, "NAVIGATION") and module is not studies}
    assert set(kinds(root)) == FOLDERS | alone | {f"empty {name}" for name in always}


@pytest.mark.slow
def test_no_page_says_anything_to_the_console_or_asks_for_anything_outside(browser: Browser, root: Path) -> None:
    tab = browser.tab()
    with served(root) as home:
        for path in sample(root):
            page = tab.open(f"{home}{path.relative_to(root).as_posix()}")
            assert page.locator("h1").count() == 1, path
    asked = {url.removeprefix(home) for url in tab.requests if not url.startswith(("data:", "about:"))}
    assert {url for url in asked if not url.endswith((".html", "static/site.css", *SCRIPTS, ".svg", ".png"))} == set()
    for path in kinds(root).values():
        tab.open(path.as_uri())


@pytest.mark.slow
@pytest.mark.parametrize(("scheme", "rules"), [("light", ""), ("dark", "runOnly: ['color-contrast']")])
def test_axe_finds_no_fault(browser: Browser, root: Path, scheme: str, rules: str) -> None:
    axe = pytest.importorskip("axe_playwright_python", reason="pip install 'advbench[browser]' to run")
    script = resources.files(axe).joinpath("axe.min.js").read_text(encoding="utf-8")
    # so wide that nothing lies behind anything, where axe could not judge its contrast
    tab, faults = browser.tab(color_scheme=scheme, viewport={"width": 2600, "height": 900}), []
    for kind, path in kinds(root).items():
        if rules and kind.startswith("empty"):
            continue  # which has no colours of its own
        page = tab.open(path.as_uri())
        page.evaluate("for (const one of document.querySelectorAll('main details:not(.controls *)')) one.open = true")
        page.evaluate(script)
        found = page.evaluate(f"axe.run({{preload: false, resultTypes: ['violations', 'incomplete'], {rules}}})")
        assert "color-contrast" in {one["id"] for one in found["passes"]}, kind
        faults += [f"{kind}: {one['id']}: {node['html']}" for one in found["violations"] for node in one["nodes"]]
        for node in (node for one in found["incomplete"] for node in one["nodes"]):
            why = [(check.get("data") or {}).get("messageKey") for check in node["any"]]
            beside_a_figure = node["html"].startswith(("<text", "<figcaption>Where mass went"))
            if why != ["shortTextContent"] and not beside_a_figure:  # one letter; what axe takes for a picture
                faults.append(f"{kind}: undecided: {node['html']}: {why}")
    assert not faults, "\n".join(faults)


def test_colours_follow_the_readers_scheme(browser: Browser, root: Path) -> None:
    colours = "() => ['backgroundColor', 'color'].map(name => getComputedStyle(document.body)[name])"
    (path,) = root.glob("site/boards/*.html")
    light, dark = (browser.tab(color_scheme=scheme).open(path.as_uri()) for scheme in ("light", "dark"))
    assert light.evaluate(colours) == ["rgb(255, 255, 255)", "rgb(27, 31, 36)"]
    assert dark.evaluate(colours) == ["rgb(18, 22, 27)", "rgb(228, 232, 237)"]
    dark.emulate_media(media="print")
    assert dark.evaluate(colours) == ["rgb(255, 255, 255)", "rgb(0, 0, 0)"]


@pytest.mark.parametrize("width", [320, pytest.param(375, marks=pytest.mark.exhaustive)])
def test_a_phone_scrolls_no_page_sideways(browser: Browser, root: Path, width: int) -> None:
    tab = browser.tab(viewport={"width": width, "height": 700})
    for kind, path in kinds(root).items():
        page = tab.open(path.as_uri())
        page.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
        assert page.evaluate("document.documentElement.scrollWidth") <= width, kind


def test_without_a_script_every_row_and_number_is_shown(browser: Browser, root: Path) -> None:
    tab = browser.tab(java_script_enabled=False)
    for kind, path in kinds(root).items():
        page = tab.open(path.as_uri())
        assert page.evaluate(f"{HIDDEN}.map(one => one.outerHTML)") == [], kind
        assert page.locator("button, input, select").count() == 0, kind
        written = [cell for row in read(path).rows for cell in row]
        shown = [" ".join(text.split()) for text in page.locator("th, td").all_text_contents()]
        assert shown == written, kind
        figures = page.locator("svg.figure").all()
        assert len(figures) == path.read_text(encoding="utf-8").count('<svg class="figure'), kind
        assert all(figure.bounding_box()["height"] > 50 for figure in figures), kind


@pytest.mark.slow
def test_paper_holds_whole_tables_and_no_controls(browser: Browser, root: Path) -> None:
    tab = browser.tab()
    for kind, path in kinds(root).items():
        page = tab.open(path.as_uri())
        page.emulate_media(media="print")
        sheets = {
            re.search(r"\ba[0-3]$", name) for name in page.locator("table").evaluate_all("t => t.map(x => x.className)")
        }
        largest = min((found[0] for found in sheets if found), default="")
        width = int((PAPER[largest] - 24) / 25.4 * 96)
        page.set_viewport_size({"width": width, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth") <= width, kind
        assert page.locator(".controls, .top, .skip, .sorts button, .legend input").locator("visible=true").count() == 0
        assert page.evaluate(
            "[...document.querySelectorAll('.scroll')].every(s => getComputedStyle(s).overflow === 'visible')"
        )
        paper = page.pdf(prefer_css_page_size=True)
        assert paper.startswith(b"%PDF-")
        boxes = {tuple(map(float, box.split())) for box in re.findall(rb"/MediaBox \[([^]]*)]", paper)}
        assert boxes, kind
        assert all(right > top for _, _, right, top in boxes), kind  # laid across


def test_shades_are_explained_where_they_are_used(browser: Browser, root: Path) -> None:
    tab = browser.tab()
    fill = "cells => cells.map(cell => [cell.className.match(/h\\d/)[0], getComputedStyle(cell).backgroundColor])"
    for kind in ("transfer", "threats.html", "targets"):
        page = tab.open(kinds(root)[kind].as_uri())
        legend = dict(page.locator(".shades li").evaluate_all(fill))
        assert len(legend) == 10
        assert len(set(legend.values())) == 10
        cells = page.locator(".heat td[class*=' h']").evaluate_all(fill)
        assert cells, kind
        assert [colour for shade, colour in cells] == [legend[shade] for shade, _ in cells], kind
        words = [text.replace("\xa0", " ") for text in page.locator(".shades li").all_inner_texts()]
        assert words[::9] == ["0–10", "90–100 %"]


@pytest.mark.parametrize("way", ["file", "http"])
def test_a_script_that_is_not_the_sites_does_not_run_and_reaches_nobody(browser: Browser, root: Path, way: str) -> None:
    with served(root) as home, served(root.parent) as elsewhere:
        tab, answered = browser.tab(), []
        tab.page.on("response", lambda response: answered.append(response.url))
        page = tab.open((root.as_uri() + "/" if way == "file" else home) + "site/index.html")
        page.evaluate(
            """async elsewhere => {
                const script = document.createElement('script');
                script.textContent = 'window.ran = "inline"';
                document.body.append(script);
                document.body.insertAdjacentHTML('beforeend', `<img src="data:x" onerror="window.ran = 'handler'">`
                    + `<img src="${elsewhere}image.png"><a id="evil" href="javascript:window.ran = 'link'">x</a>`);
                document.getElementById('evil').click();
                await fetch(elsewhere).catch(() => {});
                await new Promise(done => setTimeout(done, 200));
            }""",
            elsewhere,
        )
        assert page.evaluate("window.ran") is None
        assert any(url.endswith(SCRIPTS) for url in answered)
        assert not [url for url in answered if url.startswith(elsewhere)]
        refused = [fault for fault in tab.faults if "Content Security Policy" in fault]
        assert len(refused) >= 5  # the script, the handler, the picture, the link, the request
        tab.faults.clear()
        tab.requests.clear()


@pytest.mark.slow
def test_what_plugins_say_is_text_in_the_browser(browser: Browser, tmp_path: Path) -> None:
    root = rendered(tmp_path, EVIL)
    tab = browser.tab()  # which reports dialogs and requests
    for path in sample(root):
        page = tab.open(path.as_uri())
        page.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
        assert page.evaluate("[...document.scripts].map(script => script.getAttribute('src'))") == [
            "../" * (len(path.relative_to(root).parts) - 2) + script for script in SCRIPTS
        ]
        assert page.locator("iframe, object, embed, form, base, style, [style], foreignObject").count() == 0, path
        for link in page.locator("a[href]").evaluate_all("links => links.map(link => link.href)"):
            assert link.startswith(root.as_uri()), path
        handlers = "[...document.all].some(one => [...one.attributes].some(a => a.name.startsWith('on')))"
        assert not page.evaluate(handlers), path
        text = page.locator("body").inner_text()
        if path.name != "metrics.html" and path.is_relative_to(root / "gallery") and path.parent.parent != root:
            assert "<script>alert(1)</script>\"'&" in text, path
        assert "{{ 7 * 7 }}" in text or "49" not in text, path
        assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", text), path
        assert "evil.example" not in text, path
