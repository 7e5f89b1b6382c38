"""Readers can work with the pages: sort, search, filter, link to what they see, by mouse and by keyboard."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browsing import Browser, chromium, served
from site_facts import fill

from advbench.store import Store, marks
from advbench_leaderboard.render import render
from advbench_leaderboard.text import slug

pytestmark = pytest.mark.slow  # needs Chromium

LISTED = ["strong", "strong2", "detector", "plain", "lacking"]
BY_PGD = ["strong", "strong2", "lacking", "detector", "plain"]
FOCUS = """() => {
    const one = document.activeElement, look = getComputedStyle(one), box = one.getBoundingClientRect();
    return [Number(one.dataset.place), parseFloat(look.outlineWidth), look.outlineStyle, box.left, box.right];
}"""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("views")
    fill(folder / "results.sqlite")
    render(folder / "results.sqlite", folder / "site")
    return folder / "site"


@pytest.fixture(scope="module")
def launched() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def browser(launched: Browser) -> Iterator[Browser]:
    yield launched
    launched.close_tabs()


@pytest.fixture(scope="module", params=["file", "http"])
def home(request: pytest.FixtureRequest, root: Path) -> Iterator[str]:
    if request.param == "file":
        yield f"{root.as_uri()}/"
    else:
        with served(root) as address:
            yield address


@pytest.fixture
def board(root: Path) -> str:
    (path,) = root.glob("boards/*.html")
    return path.as_uri()


@pytest.fixture
def either(root: Path, home: str) -> str:
    """The board from the disk, and from a server."""
    (path,) = root.glob("boards/*.html")
    return f"{home}boards/{path.name}"


def rows(page: Any, table: str = "#entries") -> list[str]:
    """The names of the rows that a reader sees, from top to bottom."""
    seen = page.locator(f"{table} tbody tr:visible th")
    return [text.split()[0] for text in seen.all_inner_texts()]


def heads(page: Any) -> list[str]:
    return [
        " ".join(text.replace("↕", "").split()) for text in page.locator("#entries thead th:visible").all_inner_texts()
    ]


def button(page: Any, column: str) -> Any:
    return page.get_by_role("button", name=f"Sort by {column}", exact=True)


@pytest.mark.parametrize("press", ["click", "Enter", "Space"])
def test_a_column_sorts_down_up_and_back_by_mouse_and_by_keyboard(browser: Browser, board: str, press: str) -> None:
    page = browser.tab().open(board)
    head = page.locator("th[data-column='attack pgd']")

    def act() -> None:
        if press == "click":
            button(page, "pgd").click()
        else:
            button(page, "pgd").focus()
            page.keyboard.press(press)

    assert rows(page) == LISTED
    seen = []
    for _ in range(3):
        act()
        seen.append((rows(page), head.get_attribute("aria-sort"), page.url.partition("#")[2]))
    assert seen == [
        (BY_PGD, "descending", "sort=attack+pgd-down"),
        (BY_PGD[::-1], "ascending", "sort=attack+pgd-up"),
        (LISTED, None, ""),
    ]


def test_words_sort_as_words_and_what_is_no_number_comes_last(browser: Browser, board: str) -> None:
    page = browser.tab().open(board)
    button(page, "Target").click()
    assert rows(page) == sorted(LISTED)
    button(page, "False alarms").click()  # only one has any; the others keep their order
    assert rows(page) == ["detector", "strong", "strong2", "plain", "lacking"]


def test_search_looks_at_every_word_of_a_row(browser: Browser, board: str) -> None:
    page = browser.tab().open(board)
    search = page.get_by_role("searchbox", name="Search")
    search.fill("BLACK-box  masked")
    assert rows(page) == ["plain"]
    assert page.get_by_role("status").inner_text() == "1 of 5 rows"
    search.fill("nobody")
    assert rows(page) == []
    assert page.get_by_role("status").inner_text() == "No row fits"
    page.get_by_role("button", name="Show all").click()
    assert rows(page) == LISTED
    assert page.get_by_role("status").inner_text() == "5 rows"
    assert "#" not in page.url


def test_a_view_is_linked_by_its_address(browser: Browser, either: str) -> None:
    page = browser.tab().open(either)
    page.get_by_label("Search").fill("1=")
    page.get_by_role("combobox", name="Attack", exact=True).select_option("pgd")
    page.get_by_text("Columns", exact=True).click()
    page.get_by_role("checkbox", name="Clean accuracy").uncheck()
    button(page, "pgd").click()
    button(page, "pgd").click()
    assert rows(page) == ["strong2", "strong"]
    seen = heads(page)
    assert "Clean accuracy" not in seen
    assert "fgsm" not in seen
    assert page.locator("#entries tbody tr:visible").first.locator("td:visible, th:visible").count() == len(seen)

    other = browser.tab().open(page.url)
    assert rows(other) == ["strong2", "strong"]
    assert heads(other) == seen
    assert other.get_by_label("Search").input_value() == "1="
    assert other.get_by_role("combobox", name="Attack", exact=True).input_value() == "pgd"
    other.get_by_text("Columns", exact=True).click()
    assert not other.get_by_role("checkbox", name="Clean accuracy").is_checked()


def test_a_menu_filters_by_model(browser: Browser, board: str) -> None:
    page = browser.tab().open(board)
    page.get_by_label("Model").select_option("detector")
    assert rows(page) == ["detector"]
    assert page.url.endswith("#model=detector")
    page.get_by_label("Model").select_option("")
    assert rows(page) == LISTED


def test_a_link_to_verified_rows_never_shows_others(browser: Browser, board: str) -> None:
    page = browser.tab().open(f"{board}#verified=verified")  # of a state in which nothing is, so that no menu stands
    assert rows(page) == []
    assert page.get_by_role("status").inner_text() == "No row fits"
    page.get_by_role("button", name="Show all").click()
    assert rows(page) == LISTED


def test_readers_see_and_filter_what_was_refereed_again(browser: Browser, tmp_path: Path) -> None:
    fill(tmp_path / "results.sqlite")
    with Store.open(tmp_path / "results.sqlite") as store:
        for cell in store.rows("SELECT id, key, source FROM cells ORDER BY id"):
            if cell["source"] == "plain" and cell["key"] != "plain-fgsm":
                continue
            sound = cell["key"] != "strong2-fgsm"
            facts = marks.facts_of(store, [cell["id"]]).get(cell["id"], {})
            marks.add(store, cell["key"], facts, sound=sound, reason=None if sound else "label 3, not 7")
    render(tmp_path / "results.sqlite", tmp_path / "site")
    (path,) = (tmp_path / "site").glob("boards/*.html")
    page = browser.tab().open(path.as_uri())
    menu = page.get_by_role("combobox", name="Verified")
    found = {}
    for choice in ("verified", "differs", "not verified"):
        menu.select_option(choice)
        names = page.locator("#entries tbody tr:visible th")
        found[choice] = [" ".join(text.split()[:2]) for text in names.all_inner_texts()]
    assert found["verified"] == ["strong verified", "detector verified", "lacking verified"]
    assert found["differs"] == ["strong2 differs"]
    assert [name.split()[0] for name in found["not verified"]] == ["plain"]  # one of its cells is not enough
    other = browser.tab().open(f"{path.as_uri()}#verified=verified")
    assert rows(other) == ["strong", "detector", "lacking"]

    menu.select_option("differs")
    page.get_by_role("link", name="differs", exact=True).click()
    page.wait_for_url("**/provenance.html#checked")
    assert "the same verdicts behind 12 of 17 cells" in page.locator("main").inner_text()
    listed = [" ".join(text.split()) for text in page.locator("#differing tbody tr").all_inner_texts()]
    assert len(listed) == 1
    assert listed[0].startswith("fgsm strong2 20")
    assert listed[0].endswith("label 3, not 7")
    page.locator("#differing").get_by_role("link", name="fgsm", exact=True).click()
    page.wait_for_url("**/cells/*")
    assert "Refereed again\ndiffers" in page.locator("main").inner_text()
    sound = page.goto((tmp_path / "site" / cell_file("strong-fgsm")).as_uri())
    assert sound is not None
    assert "Refereed again\nsame verdicts" in page.locator("main").inner_text()


def cell_file(key: str) -> str:
    return f"cells/{slug(key[:12], key)}.html"


def test_the_back_button_returns_to_the_view_that_was_left(browser: Browser, either: str) -> None:
    page = browser.tab().open(f"{either}#q=1%3D&sort=attack+pgd-up")
    page.get_by_role("link", name="strong2", exact=True).first.click()
    page.wait_for_url("**/targets/strong2-*")
    page.go_back()
    assert rows(page) == ["strong2", "strong"]
    assert page.get_by_label("Search").input_value() == "1="
    page.evaluate("location.hash = 'model=plain'")  # as a link to another view does
    page.wait_for_function("document.querySelector('output').textContent.startsWith('1 of')")
    assert rows(page) == ["plain"]
    page.go_back()
    page.wait_for_function("document.querySelector('output').textContent.startsWith('2 of')")
    assert rows(page) == ["strong2", "strong"]


def test_skipping_to_the_content_keeps_the_view(browser: Browser, either: str) -> None:
    page = browser.tab().open(f"{either}#q=1%3D")
    page.keyboard.press("Tab")
    skip = page.get_by_role("link", name="Skip to the content")
    assert skip.evaluate("link => link === document.activeElement && link.getBoundingClientRect().left >= 0")
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    assert rows(page) == ["strong", "strong2"]
    page.wait_for_function("location.hash === '#q=1%3D'")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.closest('main') !== null")  # the bar is skipped


def test_a_keyboard_reaches_every_control_in_order_and_shows_where_it_is(browser: Browser, board: str) -> None:
    page = browser.tab().open(board)
    due = page.evaluate(
        """() => [...document.querySelectorAll("a[href], button, input, select, summary, [tabindex='0']")]
            .filter(one => one.checkVisibility() && !one.disabled)
            .map((one, place) => { one.dataset.place = place; return place; })"""
    )
    assert len(due) > 60
    seen = []
    for _ in due:
        page.keyboard.press("Tab")
        place, width, style, left, right = page.evaluate(FOCUS)
        assert width >= 2, place
        assert style == "solid", place
        assert right > 0, place
        assert left < 1280, place
        seen.append(place)
    assert seen == due


def test_the_menu_of_columns_closes_and_gives_the_focus_back(browser: Browser, board: str) -> None:
    page = browser.tab().open(board)
    menu = page.locator(".controls details")
    menu.locator("summary").focus()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    assert "Robust accuracy" not in heads(page)
    page.keyboard.press("Escape")
    assert menu.get_attribute("open") is None
    assert page.evaluate("document.activeElement.tagName") == "SUMMARY"
    menu.locator("summary").click()
    page.locator("h1").click()
    assert menu.get_attribute("open") is None


def test_readers_choose_the_lines_of_a_figure(browser: Browser, board: str) -> None:
    page = browser.tab().open(board)
    line = page.locator("svg.curves g[data-series='plain']")
    assert line.get_attribute("class") == "series s1"
    page.get_by_role("checkbox", name="Show strong").uncheck()
    assert line.get_attribute("class") == "series s0"
    assert page.locator("svg.curves g[data-series='strong']").get_attribute("class") == "series rest"
    again = browser.tab().open(page.url)
    assert not again.get_by_role("checkbox", name="Show strong").is_checked()


def test_a_comparison_shows_the_targets_that_were_chosen(browser: Browser, board: str) -> None:
    page = browser.tab().open(board.replace("/boards/", "/compare/"))
    for name in ("strong2", "plain"):
        page.get_by_role("checkbox", name=f"Show {name}", exact=True).uncheck()
    assert rows(page, "table.matrix") == ["strong", "detector"]
    cells = page.locator("table.matrix tbody tr:visible td:visible").all_inner_texts()
    assert [cell.split()[0] for cell in cells] == ["·", "+40.0", "−40.0", "·"]
    again = browser.tab().open(page.url)
    assert rows(again, "table.matrix") == ["strong", "detector"]


def test_a_heat_map_is_put_in_the_order_of_a_column_and_of_a_row(browser: Browser, root: Path) -> None:
    (path,) = root.glob("transfer/*.html")
    page = browser.tab().open(path.as_uri())

    def table() -> dict[tuple[str, str], str]:
        names = [cell.split()[-1] for cell in page.locator("#heat thead th").all_inner_texts()[1:]]
        body = page.locator("#heat tbody tr, #heat tfoot tr").all()
        return {
            (row.locator("th").inner_text().split()[0], name): value
            for row in body
            for name, value in zip(names, row.locator("td").all_inner_texts(), strict=True)
        }

    before = table()
    assert (before["plain", "strong"], before["strong", "strong"], before["Mean", "strong"]) == ("90.0", "10.0", "90.0")
    listed = rows(page, "#heat")
    assert listed[:2] == ["detector", "lacking"]
    page.get_by_role("button", name="Order rows by strong", exact=True).click()
    assert rows(page, "#heat") == ["plain", "strong", "detector", "lacking", "strong2"]
    page.get_by_role("button", name="Order rows by strong", exact=True).click()
    assert rows(page, "#heat") == ["strong", "plain", "detector", "lacking", "strong2"]
    page.get_by_role("button", name="Order columns by strong", exact=True).click()
    names = [cell.split()[-1] for cell in page.locator("#heat thead th").all_inner_texts()[1:]]
    assert names == ["strong", "detector", "lacking", "plain", "strong2", "others"]
    assert table() == before  # every number has gone with its row and its column
    again = browser.tab().open(page.url)
    assert rows(again, "#heat") == ["strong", "plain", "detector", "lacking", "strong2"]
    page.get_by_role("button", name="Order as listed").click()
    assert rows(page, "#heat") == listed


def test_an_address_that_somebody_made_up_does_no_harm(browser: Browser, board: str) -> None:
    evil = "%3Cimg%20src%3Dx%20onerror%3Dalert(1)%3E"
    views = [f"{key}={evil}" for key in ("q", "sort", "model", "attack", "hide", "c", "rows", "nothing")]
    views += ["hide=%7B%7D", "hide=%5B%22clean%22", "sort=-up", "sort=clean", "c=,,", "=", "&&=&", "%", "a%00=b"]
    tab = browser.tab()
    for view in views:
        page = tab.open(f"{board}#{view}")
        assert page.locator("img").count() == 0
        assert page.locator("#entries tbody tr").count() == 5
    assert rows(tab.open(f"{board}#attack=gone&sort=gone-up")) == LISTED
    assert rows(tab.open(f"{board}#model=gone")) == []
