"""Readers can trust the pages: everything is there, nothing is injected, nothing is fetched."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urldefrag

import pytest
import study_facts
import typer
from site_facts import COUNT, EVIL, Reader, ask_again, fill, merge, read
from typer.testing import CliRunner

import advbench_leaderboard
from advbench.errors import AdvbenchError
from advbench.rates.comparison import compare
from advbench.store import Store, marks
from advbench_leaderboard.markup import web_address
from advbench_leaderboard.render import render
from advbench_leaderboard.tables import TABLES
from advbench_leaderboard.text import shown, slug

WEAK = (
    "weak evidence only fgsm and pgd stand behind the robust accuracy, "
    "and no attack that finds what gradients at the image don't lead to"
)


@dataclass(frozen=True)
class Rendered:
    database: Path
    root: Path

    @property
    def pages(self) -> list[Path]:
        return sorted(self.root.rglob("*.html"))

    def page(self, name: str) -> Path:
        return self.root / name

    @property
    def board(self) -> Path:
        (found,) = self.root.glob("boards/*.html")
        return found

    def again(self) -> None:
        render(self.database, self.root)


def rendered(folder: Path, **facts: Any) -> Rendered:
    fill(folder / "results.sqlite", **facts)
    render(folder / "results.sqlite", folder / "site")
    return Rendered(folder / "results.sqlite", folder / "site")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Rendered:
    """Rendered once; nobody writes to it."""
    return rendered(tmp_path_factory.mktemp("made"))


@pytest.fixture
def site(made: Rendered, tmp_path: Path) -> Rendered:
    """A copy, to be changed and rendered again."""
    shutil.copytree(made.root.parent, tmp_path, dirs_exist_ok=True)
    return Rendered(tmp_path / made.database.name, tmp_path / made.root.name)


def row_of(reader: Reader, label: str) -> list[str]:
    return next(row for row in reader.rows if len(row) > 4 and row[1].split(" ")[0] == label)


def column(reader: Reader, row: list[str], head: str) -> str:
    return row[reader.rows[0].index(head)]


def test_targets_are_ranked_with_intervals_and_shared_ranks(site: Rendered) -> None:
    reader = read(site.board)
    assert row_of(reader, "strong")[:4] == ["1=", f"strong {WEAK}", "90.0 76.9–96.0 pgd 90.0", "100.0 91.2–100.0"]
    assert row_of(reader, "strong2")[0] == "1="
    assert row_of(reader, "detector")[0] == "3"
    assert row_of(reader, "plain")[0] == "4"
    assert column(reader, row_of(reader, "plain"), "pgd") == "10.0 4.0–23.1"
    assert column(reader, row_of(reader, "plain"), "fgsm") == "55.0 39.8–69.3"
    assert column(reader, row_of(reader, "plain"), "noise extra") == "97.5 87.1–99.6"


def test_an_unranked_target_is_listed_with_the_reason(site: Rendered) -> None:
    row = row_of(read(site.board), "lacking")
    assert row[0] == "–"
    assert "fgsm failed: perturb returned NaN" in row[1]


def test_a_detectors_misses_stand_beside_its_false_alarms(site: Rendered) -> None:
    reader = read(site.board)
    row = row_of(reader, "detector")
    assert column(reader, row, "Fooled, undetected") == "25.0 14.2–40.2 pgd"
    assert column(reader, row, "False alarms") == "10.0 4.0–23.1 set for 5.0"
    assert column(reader, row_of(reader, "plain"), "False alarms") == "–"


def test_others_examples_stand_beside_the_score_and_name_where_they_come_from(site: Rendered) -> None:
    reader = read(site.board)
    assert column(reader, row_of(reader, "strong"), "Transfer in") == "90.0 76.9–96.0 pgd from plain"
    assert column(reader, row_of(reader, "plain"), "Transfer in") == "–"
    assert row_of(reader, "strong")[0] == "1="  # a stranger's model does not change a score


def test_passes_and_seconds_are_those_of_all_cells_of_the_row(site: Rendered) -> None:
    reader = read(site.board)
    row = row_of(reader, "detector")
    assert [column(reader, row, head) for head in ("Forward passes", "Backward passes", "Seconds")] == [
        "120",
        "60",
        "4.5",
    ]


def test_certificates_and_checks_are_shown_where_the_database_has_them(site: Rendered) -> None:
    assert "Certified" not in site.board.read_text(encoding="utf-8")
    with Store.open(site.database) as store:
        radii = [
            {"example": e, "family": "linf", "radius": 0.3 if e < 10 else 0.2, "predicted": int(e == 9)}
            for e in range(COUNT)
        ]  # one of ten is proved and wrong
        store.add_certificates("strong", radii)
        for cell in store.rows("SELECT id, key, source FROM cells ORDER BY id"):
            if cell["source"] != "plain" or cell["key"] == "plain-fgsm":
                facts = marks.facts_of(store, [cell["id"]]).get(cell["id"], {})
                marks.add(store, cell["key"], facts, sound=cell["key"] != "strong2-fgsm")
    site.again()
    reader = read(site.board)
    assert column(reader, row_of(reader, "strong"), "Certified lower bound").split(" ")[0] == "22.5"  # 9 of 40
    assert column(reader, row_of(reader, "plain"), "Certified lower bound") == "–"
    shown_marks = {row[1].split(" ")[0]: row[1] for row in reader.rows[1:6]}
    assert "verified" in shown_marks["strong"].split(" ")
    assert "verified" not in shown_marks["strong2"].split(" ")
    assert "verified" not in shown_marks["plain"].split(" ")  # not all of its cells
    kinds = [a["data-verified"] for tag, a in reader.tags if "data-verified" in a]
    assert sorted(map(str, kinds)) == ["differs", "not verified", "verified", "verified", "verified"]


def test_curves_come_with_their_numbers(site: Rendered) -> None:
    reader = read(site.board)
    heads = next(row for row in reader.rows if row[:1] == ["Target, accuracy at radius"])
    plain, strong = (next(r for r in reader.rows if r[0] == name and r[-1] == "cw") for name in ("plain", "strong"))
    assert plain[heads.index("0")] == strong[heads.index("0.3")] == "100.0"
    assert plain[heads.index("0.3")] == "47.5"  # sizes 0.1, 0.11, … 0.3 are 21 of 40
    assert "Accuracy against radius, rotate-shift" in site.board.read_text(encoding="utf-8")


def test_nothing_disappears(site: Rendered) -> None:
    rows = read(site.page("failures.html")).rows
    assert any(row[:2] == ["lacking", "fgsm"] and row[3] == "perturb returned NaN" for row in rows)
    assert ["digits", "cw → random", "rotate-shift/30°,3px", "cw does not search this ball", "small-cnn"] in rows
    assert ["elsewhere", "cw", "linf/0.3", "another data set", "small-cnn"] in rows
    assert any(row[0] == "bad" and row[-1] == "boom" for row in rows)
    assert "masked a black-box attack is stronger" in row_of(read(site.board), "plain")[1]
    text = site.board.read_text(encoding="utf-8")
    assert "half of it" in text
    assert "1 cell failed or not finished, 1 pair skipped" in text


def test_the_home_page_names_every_board_and_its_best_target(site: Rendered) -> None:
    reader = read(site.page("index.html"))
    (row,) = reader.rows[1:]
    assert row[0].startswith("digits/rotate-shift/30°,3px")
    assert row[1:5] == [f"strong and others, tied {WEAK}", "90.0 76.9–96.0", "4", "1"]
    (link,) = {a["href"] for tag, a in reader.tags if tag == "a" and str(a["href"]).startswith("boards/")}
    assert link == f"boards/{site.board.name}"
    assert re.fullmatch(r"boards/[a-z0-9.-]+\.html", str(link))


def test_differences_are_paired_and_the_certain_ones_stand_out(site: Rendered) -> None:
    (page,) = site.root.glob("compare/*.html")
    rows = {row[0]: row[1:] for row in read(page).rows}
    assert [cell.split(" ")[0] for cell in rows["strong"]] == ["·", "+2.5", "+40.0", "+80.0"]
    worse, better = ({e: e >= wrong for e in range(COUNT)} for wrong in (36, 4))
    due = compare("board", "plain", "strong", worse, better)
    assert due
    assert rows["strong"][-1] == f"+80.0 +{100 * due.low:.1f} … +{100 * due.high:.1f}"
    assert rows["plain"][0] == f"−80.0 −{100 * due.high:.1f} … −{100 * due.low:.1f}"
    text = page.read_text(encoding="utf-8")
    assert "<b>+80.0</b>" in text
    assert "<b>+2.5</b>" not in text


def test_provenance_says_under_what_the_numbers_were_made(site: Rendered) -> None:
    text = site.page("provenance.html").read_text(encoding="utf-8")
    for words in (
        "<code>advbench run</code>",
        "torch",
        "fast",
        "tf32",
        "advbench verify CELL --db results.sqlite",
        "acme",
    ):
        assert words in text


def test_text_from_plugins_is_shown_and_never_obeyed(tmp_path: Path) -> None:
    site = rendered(tmp_path, evil=EVIL)
    for page in site.pages:
        text = page.read_text(encoding="utf-8").replace("<wbr>", "")
        if page.name != "metrics.html":  # which holds no plugin's words
            assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text, page
            assert "{{ 7 * 7 }}" in text
        assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", text)
        assert "evil.example" not in text
        tags = read(page).tags
        root = "../" * (len(page.relative_to(site.root).parts) - 1)
        own = [f"{root}static/{name}.js" for name in ("view", "tables", "series")]
        assert [a for tag, a in tags if tag == "script"] == [{"src": src, "defer": None} for src in own]
        assert {tag for tag, _ in tags}.isdisjoint({"iframe", "object", "form", "foreignobject", "base"})
        assert all(not name.startswith("on") for _, attributes in tags for name in attributes)
        assert all(a.get("src", "").startswith("badges/") for tag, a in tags if tag == "img")
        assert not any("javascript:" in (a.get("href") or "") for _, a in tags)
    for badge in site.root.glob("badges/*.svg"):
        text = badge.read_text(encoding="utf-8")
        assert "&lt;script&gt;" in text
        assert "<script" not in text


@pytest.mark.parametrize(
    "text",
    [
        "javascript:alert(1)",
        " java\nscript:alert(1)",
        "data:text/html,x",
        "//x.example",
        'https://x/"onload="',
        "file:///etc",
    ],
)
def test_only_addresses_of_the_web_are_links(text: str) -> None:
    assert web_address(text) == ""
    assert web_address("https://arxiv.org/abs/1706.06083") == "https://arxiv.org/abs/1706.06083"


def test_spreadsheets_take_no_text_for_a_formula(tmp_path: Path) -> None:
    site = rendered(tmp_path, name="=HYPERLINK(1)", evil="\t=cmd|' /C calc'!A1,\"")
    with Store.open(site.database) as store:
        store.add_note("strong", "@SUM(1)", "+1-1\r\n=2")
    site.again()
    texts = [field for file in site.root.glob("data/*.csv") for row in rows_of(file) for field in row]
    assert "'=HYPERLINK(1) =cmd|' /C calc'!A1,\"" in texts
    assert "'@SUM(1)" in texts
    assert not [t for t in texts if re.match(r"\s*[=+@\t\r]", t) or (t.startswith("-") and not is_number(t))]
    (note,) = [
        row for row in json.loads((site.root / "data/notes.json").read_text())["rows"] if row["kind"] == "@SUM(1)"
    ]
    assert note["reason"] == "+1-1 =2"


def rows_of(file: Path) -> list[list[str]]:
    return list(csv.reader(io.StringIO(file.read_text(encoding="utf-8"), newline="")))


def is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def test_downloads_hold_what_the_page_of_schemas_says(site: Rendered) -> None:
    merge(site.database, {"strong": 18})
    ask_again(site.database)
    with Store.open(site.database) as store:
        study_facts.fill(store)
    site.again()
    text = site.page("downloads.html").read_text(encoding="utf-8")
    for table in TABLES:
        head, *rows = rows_of(site.root / f"data/{table.name}.csv")
        found = json.loads((site.root / f"data/{table.name}.json").read_text(encoding="utf-8"))
        assert head == list(table.columns) == list(found["columns"])
        assert len(rows) == len(found["rows"]) > 0
        assert [list(row) for row in found["rows"]] == [head] * len(rows)
        assert all(f"<code>{name}</code>" in text for name in table.columns)
    entries = {r["target_label"]: r for r in json.loads((site.root / "data/entries.json").read_text())["rows"]}
    assert (entries["strong"]["rank"], entries["strong"]["robust"], entries["strong"]["tied"]) == (1, 0.9, True)


def test_every_link_leads_somewhere_and_no_page_asks_outside(site: Rendered) -> None:
    anchors = {page: {a["id"] for _, a in read(page).tags if a.get("id")} for page in site.pages}
    for page in site.pages:
        reader = read(page)
        for link in [v for _, a in reader.tags for k, v in a.items() if k in ("href", "src")]:
            file, place = urldefrag(str(link))
            if file == "data:,":
                continue
            there = (page.parent / file).resolve() if file else page
            assert there.is_file(), f"{page}: {link}"
            assert not place or place in anchors[there], f"{page}: {link}"
        ids = [a["id"] for _, a in reader.tags if a.get("id")]
        assert len(ids) == len(set(ids)), page
        assert not re.search(r"https?://|@import|url\(", page.read_text(encoding="utf-8"))
        (policy,) = [a["content"] for _, a in reader.tags if a.get("http-equiv") == "Content-Security-Policy"]
        assert str(policy).startswith("default-src 'none';")
        assert "unsafe" not in str(policy)
        assert not any("style" in attributes or tag == "style" for tag, attributes in reader.tags)
    for file in site.root.glob("static/*"):
        assert not re.search(r"https?://|@import|url\(|fetch\(|eval\(|innerHTML", file.read_text(encoding="utf-8"))


def test_columns_are_explained(site: Rendered) -> None:
    heads = [
        str(a["href"])
        for page in site.pages
        for tag, a in read(page).tags
        if tag == "a" and "metrics.html#" in str(a["href"])
    ]
    assert {link.partition("#")[2] for link in heads} >= {
        "robust-accuracy",
        "rank",
        "transfer-in",
        "undetected",
        "seconds",
    }


def test_figures_say_what_they_are(site: Rendered) -> None:
    figures = {
        str(page.relative_to(site.root)): re.findall(r'<svg class="figure.*?</svg>', page.read_text(), re.S)
        for page in site.pages
    }
    names = {re.sub(r"-[0-9a-f]{10}", "", page): len(found) for page, found in figures.items() if found}
    assert names == {
        **dict.fromkeys(("boards/digits-rotate-shift-30-3px.html", "compare/digits-rotate-shift-30-3px.html"), 1),
        **{f"attacks/{attack}.html": 1 for attack in ("cw", "fgsm", "noise", "pgd")},
        "targets/plain.html": 1,
        "targets/strong.html": 1,
        "targets/detector.html": 2,
        "threats.html": 1,
    }
    for text in (text for found in figures.values() for text in found):
        name = re.search(r'aria-labelledby="(\w+) (\w+)"', text)
        assert name
        assert f'<title id="{name[1]}">' in text
        assert f'<desc id="{name[2]}">' in text
        assert len(re.findall(r'class="title"[^>]*>[^<]*[A-Za-z]', text)) == 2  # both axes in words


def test_without_a_script_every_row_and_column_is_there(site: Rendered) -> None:
    for page in site.pages:
        assert not [tag for tag, a in read(page).tags if "hidden" in a], page
    reader = read(site.board)
    width = len(reader.rows[0])
    assert [len(row) for row in reader.rows[1:6]] == [width] * 5


def luminance(colour: str) -> float:
    digits = colour[1:] if len(colour) == 7 else "".join(2 * digit for digit in colour[1:])
    parts = [int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_text_and_lines_stand_out_from_the_paper_in_light_dark_and_print(site: Rendered) -> None:
    sheet = (site.root / "static/site.css").read_text(encoding="utf-8")
    palettes = [
        dict(re.findall(r"--([a-z0-9-]+): (#[0-9a-f]+)", text)) for text in re.findall(r":root \{(.*?)\}", sheet, re.S)
    ]
    assert len(palettes) == 3
    for palette in palettes:

        def contrast(front: str, back: str, palette: dict[str, str] = palette) -> float:
            a, b = sorted((luminance(palette[front]), luminance(palette[back])))
            return (b + 0.05) / (a + 0.05)

        for name in ("ink", "soft", "accent", "bad", "good"):
            assert min(contrast(name, "paper"), contrast(name, "band")) >= 4.5, name
        assert contrast("warn", "warn-band") >= 4.5
        for series in range(8):
            assert contrast(f"s{series}", "paper") >= 3, series


def test_targets_that_share_a_label_are_told_apart(tmp_path: Path) -> None:
    site = rendered(tmp_path)
    with Store.open(site.database) as store:
        row: dict[str, Any] = {"key": "other-weights", "label": "plain", "model": "plain", "defenses": "none"}
        store.add_target({**row, "dataset": "digits", "data_fingerprint": "data"})
        store.add_clean("other-weights", [{"example": e, "label": 0, "predicted": 0} for e in range(COUNT)])
    site.again()
    text = site.board.read_text(encoding="utf-8")
    assert "plain #other-we" in text
    assert "plain #plain" in text


def test_boards_with_similar_names_have_pages_of_their_own() -> None:
    names = ["digits/linf/0.3", "digits linf 0.3", "DIGITS/LINF/0.3", "°", "", "../../etc/passwd", "a" * 500]
    files = [slug(name, f"key{i}") for i, name in enumerate(names)]
    assert len({file.lower() for file in files}) == len(names)
    assert all(re.fullmatch(r"[a-z0-9][a-z0-9.-]*", file) and ".." not in file and len(file) < 100 for file in files)


@pytest.mark.parametrize(
    "evil", ["\x1b[2J", "\x1b]0;title\x07", "\x1bP1$r\x1b\\", "\x9b31m", "\x1bc", "\x00", "\u202e", "\u061c"]
)
def test_terminal_escapes_leave_nothing_behind(evil: str) -> None:
    assert shown(f"a{evil}b").replace(" ", "").replace("31m", "") == "ab"


def test_an_empty_database_renders(tmp_path: Path) -> None:
    Store.open(tmp_path / "results.sqlite").close()
    render(tmp_path / "results.sqlite", tmp_path / "site")
    assert "no boards yet" in (tmp_path / "site/index.html").read_text()


def test_rendering_needs_no_torch() -> None:
    code = "import sys, advbench_leaderboard, advbench_leaderboard.render; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_problems_are_one_line_that_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(AdvbenchError, match="no such database"):
        render(tmp_path / "missing.sqlite", tmp_path / "site")
    Store.open(tmp_path / "results.sqlite").close()
    (tmp_path / "file").touch()
    with pytest.raises(AdvbenchError, match="name another folder with --out"):
        render(tmp_path / "results.sqlite", tmp_path / "file")


def test_the_command_renders_and_names_the_index(tmp_path: Path) -> None:
    fill(tmp_path / "results.sqlite")
    app = typer.Typer()
    app.callback()(lambda: None)
    app.command("render")(advbench_leaderboard.render_command)
    options = ["render", "--db", str(tmp_path / "results.sqlite"), "--out", str(tmp_path / "site")]
    result = CliRunner().invoke(app, options)
    assert result.exit_code == 0, result.output
    assert re.fullmatch(r"1 board, (\d+) of \1 files written: .*index\.html", result.output.strip())
    assert result.output.strip().endswith(str(tmp_path / "site" / "index.html"))


def test_transfer_rates_can_be_downloaded(site: Rendered) -> None:
    found = json.loads((site.root / "data/transfer.json").read_text(encoding="utf-8"))["rows"]
    (row,) = found
    assert (row["source_label"], row["attack"], row["target_label"]) == ("plain", "pgd", "strong")
    assert (row["fooled_k"], row["fooled_n"], row["fooled"]) == (36, COUNT, 0.9)
    assert 0.75 < row["fooled_low"] < 0.9 < row["fooled_high"] < 1
    assert row["undetected"] is None, "that target raises no alarms"
    page = (site.root / f"cells/{slug(row['cell'][:12], row['cell'])}.html").read_text(encoding="utf-8")
    assert "90.0" in page
