"""Pages of studies say what the database says: every published number, its fate, every claim, and what is missing."""

from __future__ import annotations

import base64
import csv
import json
import re
import zlib
from html import unescape
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import study_facts
from site_facts import EVIL, read
from study_facts import Shapes
from tampering import edit

from advbench.rates.studies import Compared, standing
from advbench.store import Store
from advbench.store.study_rows import (
    AnalysisRow,
    FindingRow,
    Found,
    PictureRow,
    PointRow,
    PublishedRow,
    StudyAnalysisRow,
    StudyRow,
    add_analysis,
    add_study,
)
from advbench.study import LEVELS
from advbench_leaderboard.facts import studies
from advbench_leaderboard.facts.places import layout
from advbench_leaderboard.facts.series import Columns, Drawn, Listed, Point, columns, drawn, thinned
from advbench_leaderboard.figures.plot import HEIGHT, WIDTH, plot
from advbench_leaderboard.markup import coded, web_address
from advbench_leaderboard.pages.study import INSIDE, SENTENCE, parted
from advbench_leaderboard.render import render
from advbench_leaderboard.sections import MOST, listing
from advbench_leaderboard.text import measured, printed, signed


def made(folder: Path, evil: str = "") -> Path:
    with Store.open(folder / "results.sqlite") as store:
        study_facts.fill(store, evil)
    rendered = render(folder / "results.sqlite", folder / "site")
    assert rendered.problems == ()
    return folder / "site"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made(tmp_path_factory.mktemp("studies"))


@pytest.fixture(scope="module")
def page(root: Path) -> Path:
    """The study at its highest level."""
    (found,) = root.glob("studies/shapes-hour-*.html")
    return found


def words(html: str) -> str:
    return " ".join(unescape(re.sub("<[^>]*>", " ", html.replace("<wbr>", ""))).split())


def block(page: Path, heading: str) -> str:
    """What stands under a heading of the third rank, up to the next."""
    text = page.read_text(encoding="utf-8")
    start = re.search(rf'<h3 id="[^"]*">{re.escape(heading)}</h3>', text)
    assert start, heading
    return re.split("<h[23] ", text[start.end() :])[0]


def table(page: Path, heading: str) -> list[list[str]]:
    """Rows of the first table under a heading, without what a phone alone shows."""
    found = re.search(r"<table.*?</table>", block(page, heading), re.S)
    assert found
    body = re.sub(r'<small class="on-phone".*?</small>', "", found[0])
    rows = re.findall(r"<tr.*?</tr>", body, re.S)
    return [[words(cell) for cell in re.findall(r"<t[hd].*?</t[hd]>", row, re.S)] for row in rows]


def test_every_published_number_stands_beside_ours_with_its_fate(page: Path) -> None:
    head, *rows = table(page, "Table 1")
    assert head == ["Attack", "Network", "Dataset", "The paper", "Ours", "Difference", "N", "Result"]
    assert len(rows) == 24
    assert rows[0] == ["fgsm", "convnet", "shapes", "40 a", "40.4 38.0–44.0", "+0.4 −2.0 … +4.0", "100", "within"]
    assert rows[1][3:] == ["41", "90.0 85.0–93.0", "+49.0 +44.0 … +52.0", "100", "outside"]
    assert rows[2][3:] == ["42", "43.0", "+1.0", "–", "no interval"]
    assert rows[3][3:] == ["43", "–", "–", "–", "absent 1"]  # the finding is there, and counted nothing
    assert rows[-1][3:] == ["63", "–", "–", "–", "absent 2"]
    told = words(block(page, "Table 1"))
    for sentence in (
        "In percent. In all rows: metric fooling rate.",
        "there was nothing to count nobody wrote it",
        "a printed twice",
        "Note. two readings",
    ):
        assert sentence in told


def test_a_pivoted_table_loses_no_number(page: Path) -> None:
    head, *rows = table(page, "Table 2")
    assert head == ["Attack", "convnet", "capsnet"]
    assert rows[0][1] == "paper 1.25 1.3 1.2–1.4 +0.05 within paper about 2 1.3 1.2–1.4 no interval"
    assert rows[0][2] == "paper 1.25 1.3 1.2–1.4 +0.05 within"
    assert rows[1][1] == "paper 2.25 40.4 38.0–44.0 +38.1 outside N 100"
    assert rows[2][1:] == ["paper 3.25 absent 1"] * 2
    assert "Ours stand behind N = 20 where no other N is said." in words(block(page, "Table 2"))


def test_places_that_no_section_shows_are_listed_and_missing_ones_say_why(page: Path) -> None:
    assert "not reproduced no such network" in words(block(page, "Table 3"))
    assert table(page, "Table 3")[1] == ["capsnet", "3", "absent 1"]
    assert [row[:2] for row in table(page, "Table 4")[1:]] == [["n1", "1e−13"], ["n2", "1e−13"]]
    assert "No section of this study shows it." in words(block(page, "Figure 6"))
    assert table(page, "Figure 1")[-1] == ["theirs alone (the paper)", "4", "1.8"]
    assert "peak about 3 absent 1" in words(block(page, "Figure 1"))  # no table of the study shows this number


def test_the_ledger_has_every_claim_with_both_verdicts(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    ledger = re.search(r'<table class="stacked ledger">.*?</table>', text, re.S)
    assert ledger
    rows = [row for row in read(page).rows if row and row[0].startswith("shapes-")]
    assert [(row[0], row[3], row[4]) for row in rows] == [
        ("shapes-1 claim 1", "holds", "holds why"),
        ("shapes-2 claim 2", "fails", "undecided why"),
        ("shapes-3 claim 3", "undecided", "fails why"),
        ("shapes-4 claim 4", "holds", "not asked: why"),
    ]
    assert rows[0][1] == "Table 1 Its own tables: in part"
    assert rows[0][2].startswith("2 of 40 hold in full rate 0 12.5 [10, 15] < 3 (fails); rate 1")
    assert "advbench study shapes --level hour --db results.sqlite" in words(text)
    assert "4 within our interval, 4 outside, 3 beside a number without one, 24 absent" in words(text)


def test_what_could_not_be_performed_is_told_with_its_reason(page: Path) -> None:
    label = Shapes().lacking.label
    assert [label, "photos are not on this machine"] in read(page).rows
    assert words(block(page, "Figure 5")).count(f"{label} could not be performed: photos are not on this machine") == 2
    assert "found no numbers that are shown here" in words(block(page, "Rates that are not there"))


def test_findings_are_listed_without_what_all_of_them_say(page: Path) -> None:
    head, *rows = table(page, "All rates")
    assert head == ["Finding", "Ours", "Interval", "N"]
    assert rows[3] == ["3", "8.0", "7.0 … 9.5", "43"]
    assert len(rows) == 25
    assert "In percent. In all rows: rate · shapes." in words(block(page, "All rates"))
    many = listing([FindingRow(f"rate {i}", 1.0, None, None, None, "") for i in range(MOST + 3)])
    assert (len(many.rows), many.left_out, many.common) == (MOST, 3, "")
    longer = listing([FindingRow(f"rate · a · {i} · x{i * ' · on b'}", 1.0, None, None, None, "") for i in range(2)])
    assert (longer.common, [words for words, _ in longer.rows]) == ("rate · a · x", ["0", "1 · on b"])


def test_pictures_lie_in_the_page_or_beside_it_and_broken_ones_are_named(root: Path, page: Path) -> None:
    reader = read(page)
    sources = {str(a["alt"]): str(a["src"]) for tag, a in reader.tags if tag == "img"}
    assert sorted(sources) == ["first", "large", "noise"]
    assert sources["first"].startswith("data:image/png;base64,")
    assert sources["noise"].startswith("pictures/")  # it is shown twice
    file = page.parent / sources["large"]
    assert file.read_bytes().startswith(b"\x89PNG")
    assert len(base64.b64encode(file.read_bytes())) > INSIDE
    told = words(block(page, "Figure 4"))
    for name in ("broken", "cut off", "huge"):
        assert f"{name}: this picture of the database cannot be read." in told
    assert len(list((root / "studies/pictures").iterdir())) == 2  # of two levels


def test_the_index_counts_numbers_and_claims_as_the_command_does(root: Path) -> None:
    rows = read(root / "studies.html").rows
    numbers, claims = (row for row in rows if row[0].startswith("On shapes"))
    assert numbers[1:7] == ["hour smoke", "35", "4", "4", "3", "24"]
    assert claims[1:] == ["4", "2", "1", "1", "1", "1", "1"]
    with Store.open(root.parent / "results.sqlite", readonly=True) as store:
        counted = next(one for one in standing(store) if one.level == "hour")
    assert [counted.count(fate) for fate in studies.FATES] == [4, 4, 3, 24]
    assert counted.verdicts == {"holds": 2, "fails": 1, "undecided": 1}
    home = words((root / "index.html").read_text(encoding="utf-8"))
    assert "one paper , 35 numbers, 4 claims" in home
    assert tuple(LEVELS) == studies.LEVELS


def test_a_database_without_studies_has_no_word_of_them(tmp_path: Path) -> None:
    Store.open(tmp_path / "results.sqlite").close()
    render(tmp_path / "results.sqlite", tmp_path / "site")
    assert not (tmp_path / "site/studies.html").exists()
    for path in (tmp_path / "site").glob("*.html"):
        assert path.name == "downloads.html" or "studies.html" not in path.read_text(encoding="utf-8")


def test_what_papers_and_authors_say_is_text(tmp_path: Path) -> None:
    root = made(tmp_path, EVIL)
    for path in [*root.glob("studies/*.html"), root / "studies.html"]:
        text = path.read_text(encoding="utf-8")
        reader = read(path)
        assert [tag for tag, _ in reader.tags].count("script") == 3, path
        assert not any(name.startswith("on") or name == "style" for _, a in reader.tags for name in a), path
        assert not any("javascript:" in str(a.get("href")) for _, a in reader.tags), path
        assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", text), path
        assert "evil.example" not in text
        assert "49" not in re.findall("(?<![0-9.])49(?![0-9.])", words(text).replace("+49", "").replace(" 49 ", " "))
    (page,) = root.glob("studies/*hour*.html")
    assert page.read_text(encoding="utf-8").count("&lt;script&gt;") > 60
    assert not web_address(f"javascript:alert(1){EVIL}")


def test_a_reference_on_the_web_is_a_link(tmp_path: Path) -> None:
    made(tmp_path)
    change = f"UPDATE studies SET paper = replace(paper, '{Shapes.reference}', 'https://a.org')"
    edit(tmp_path / "results.sqlite", change)
    render(tmp_path / "results.sqlite", tmp_path / "site")
    (page,) = (tmp_path / "site").glob("studies/shapes-hour-*.html")
    assert '<a href="https://a.org" rel="noopener noreferrer">https://a.org</a>' in page.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("sql", "words"),
    [
        ("UPDATE studies SET page = '{\"sections\": [{}]}'", "KeyError"),
        ("UPDATE studies SET page = replace(page, 'gallery', 'film')", "film"),
        ("UPDATE studies SET page = replace(page, '\"lines\"', '3')", ""),
    ],
)
def test_a_page_that_says_what_no_page_can_show_costs_itself(tmp_path: Path, sql: str, words: str) -> None:
    with Store.open(tmp_path / "results.sqlite") as store:
        study_facts.fill(store)
    edit(tmp_path / "results.sqlite", sql)
    rendered = render(tmp_path / "results.sqlite", tmp_path / "site")
    assert len(rendered.problems) == (2 if words else 0)
    assert all(words in problem for problem in rendered.problems)
    assert (tmp_path / "site/index.html").is_file()
    assert (tmp_path / "site/studies.html").is_file()


def test_studies_that_can_not_be_read_cost_their_pages_alone(tmp_path: Path) -> None:
    made(tmp_path)
    edit(tmp_path / "results.sqlite", "UPDATE published SET columns = 'x'")
    rendered = render(tmp_path / "results.sqlite", tmp_path / "site")
    assert [problem.partition(" (")[0] for problem in rendered.problems] == ["studies: none of them can be read"]
    assert not (tmp_path / "site/studies.html").exists()
    assert "none of them can be read" in (tmp_path / "site/failures.html").read_text(encoding="utf-8")


def test_downloads_hold_every_number_claim_finding_and_point(root: Path) -> None:
    def rows(name: str) -> list[dict[str, str]]:
        with (root / f"data/{name}.csv").open(encoding="utf-8", newline="") as lines:
            return list(csv.DictReader(lines))

    published = [row for row in rows("published") if row["level"] == "hour"]
    assert len(published) == 35
    first = next(row for row in published if row["place"] == "Table 1")
    told = [first[name] for name in ("published", "fate", "ours", "ours_low", "n", "difference")]
    assert told == ["40.0", "within", "40.4", "38.0", "100", str(40.4 - 40.0)]
    assert json.loads(first["columns"])["dataset"] == "shapes"
    assert {row["fate"] for row in published} == set(studies.FATES)
    assert [row["strongest"] for row in rows("claims") if row["level"] == "hour"] == ["holds", "undecided", "fails", ""]
    assert len(rows("findings")) == 2 * 30
    assert len(rows("study_points")) == 2 * (5 + 81 + 70 + 12)
    assert [row["level"] for row in rows("studies")] == ["hour", "smoke"]


def test_a_page_of_five_hundred_numbers_and_twenty_figures_stays_below_a_megabyte(tmp_path: Path) -> None:
    places = [f"Table {i}" for i in range(5)]
    figures = [f"Figure {i}" for i in range(20)]
    name = "fooled · mnist · small-cnn+reconstruction · pgd(steps=100, restarts=10) · linf(eps=0.3) · on large-cnn {}"
    found = Found(
        [FindingRow(name.format(i), 51.25, 49.5, 53.0, 1000 + i, "percent") for i in range(500)],
        [PointRow(s, i, f"series {s}", float(i), i + s / 7, i - 1.0, i + 1.0) for s in range(8) for i in range(100)],
        [PictureRow(f"picture {i}", "taken for 3", 1, 28, 28, zlib.compress(noise(i, 784))) for i in range(25)],
    )
    published = [
        PublishedRow(
            places[i % 5],
            i,
            [["attack", f"attack {i}"], ["network", "CapsNet"], ["dataset", f"data {i % 3}"], ["goal", f"to {i % 2}"]],
            50.0,
            None,
            0,
            "percent",
            "a" if i % 3 else None,
            name.format(i) if i % 3 else None,
            None if i % 3 else "CIFAR-10: only parts of it are here",
        )
        for i in range(500)
    ]
    chart: dict[str, Any] = {"what": "chart", "label": "a", "series": [], "x": "x", "y": "y", "caption": "drawn"}
    shows: list[dict[str, Any]] = [{"what": "table", "place": place, "across": ""} for place in places]
    for i, place in enumerate(figures):
        shows.append({**chart, "place": place, "kind": ("lines", "marks", "bars")[i % 3], "published": []})
        shows.append({"what": "gallery", "place": place, "label": "a", "pictures": [], "caption": "by chance"})
    shows.append({"what": "ours", "title": "All", "label": "a", "findings": [], "caption": ""})
    page = {"abstract": "Large.", "sections": [{"title": "All", "text": "", "shows": shows}]}
    with Store.open(tmp_path / "results.sqlite") as store:
        add_analysis(store, AnalysisRow("k", "a", "a", {}, {}, {}, 0, 1.0, None, None), found)
        row = StudyRow("s", "large", "hour", {"title": "Large"}, page, {}, 0, None)
        add_study(store, row, [StudyAnalysisRow("a", "k", None)], published, [])
    assert render(tmp_path / "results.sqlite", tmp_path / "site").problems == ()
    (large,) = (tmp_path / "site").glob("studies/large-*.html")
    text = large.read_text(encoding="utf-8")
    assert text.count('<svg class="figure') == 20
    assert text.count("<img") == 500
    assert len(re.findall('class="fate ', text)) == 500
    assert 300_000 < len(text.encode()) < 1_000_000


def noise(seed: int, count: int) -> bytes:
    return bytes((i * i * 31 + seed * 7919 + i * 97) // 7 % 256 for i in range(count))


# --- how tables and figures are laid out


def compared(value: float | str, ours: FindingRow | None = None, **columns: object) -> Compared:
    number, said = (value, None) if isinstance(value, float) else (None, value)
    absent = None if ours else "no"
    rows = [[name, one] for name, one in columns.items()]
    return Compared(PublishedRow("Table 1", 0, rows, number, said, 0, "s", "a", "f", absent), ours)


def test_a_table_always_has_a_column_that_names_its_rows() -> None:
    same = layout("Table 1", [compared(1.0, network="a"), compared(2.0, network="a")])
    assert same.columns == ("number",)
    assert [line.words for line in same.lines] == [("1",), ("2",)]
    assert same.common == (("network", "a"),)
    across = layout("Table 1", [compared(1.0, network="a"), compared(2.0, network="b")], "network")
    assert across.across == ("a", "b")
    assert [line.words for line in across.lines] == [("all",)]
    nowhere = layout("Table 1", [compared(1.0, network="a"), compared(2.0, attack="b")], "dataset")
    assert [line.words for line in nowhere.lines] == [("a", ""), ("", "b")]
    lists = layout("Table 1", [compared("12/255", shape=[1, 2.5], metric="mean_l2_norm")])
    assert [line.words for line in lists.lines] == [("1, 2.5", "mean l2 norm")]


def test_numbers_are_written_as_they_are_printed_and_measured() -> None:
    assert [printed(one) for one in (99.39, 14.0, 68.77651938, 1.16e-13, -3.0)] == [
        "99.39",
        "14",
        "68.77651938",
        "1.16e−13",
        "−3",
    ]
    assert [measured(one, "percent") for one in (7.0, 0.0, 1e-13)] == ["7.0", "0.0", "1.0e−13"]
    assert [measured(one) for one in (1.23456, 12345.6, 68.7765, -0.5, 9.093e-5, 3730.0)] == [
        "1.23",
        "12,346",
        "68.8",
        "−0.5",
        "9.1e−05",
        "3,730",
    ]
    assert [signed(one, "percent") for one in (0.0, 3.0, -3.0)] == ["0.0", "+3.0", "−3.0"]


def test_words_between_backticks_are_code_and_still_text() -> None:
    assert coded("a `b<c` & `d`") == "a <code>b&lt;c</code> &amp; <code>d</code>"
    assert coded("a `b") == "a `b"
    assert coded("`\x1b[31m<script>`") == "<code>&lt;script&gt;</code>"


def test_long_verdicts_are_cut_where_they_can_be_opened() -> None:
    assert parted("3 < 4") == ("3 < 4", "")
    assert parted("2 of 3 hold: " + "x" * SENTENCE) == ("2 of 3 hold", "x" * SENTENCE)
    assert parted("not: 2 of 3 hold: " + "x: " * SENTENCE)[0] == "not: 2 of 3 hold"
    first, rest = parted("word " * 100)
    assert len(first) <= SENTENCE + 2
    assert (first[:-2] + rest[1:]).split() == ["word"] * 100
    assert len(parted("x" * 1000)[0]) <= SENTENCE + 2


def row(series: int, x: float, y: float, name: str) -> PointRow:
    return PointRow(series, 0, name, x, y, None, None)


def test_series_are_chosen_by_name_and_the_papers_stand_beside_their_namesakes() -> None:
    points = [row(0, 0.0, 1.0, "a one"), row(1, 0.0, 2.0, "b"), row(2, 0.0, 3.0, "a two"), row(0, 1.0, 1.0, "a one")]
    found = drawn(points, ("a*",), [["a one", [[0.0, 5.0]]], ["alone", [[1.0, 6.0]]], ["empty", []]])
    assert [(one.name, len(one.ours), len(one.published)) for one in found] == [
        ("a one", 2, 1),
        ("a two", 1, 0),
        ("alone", 0, 1),
    ]
    assert [one.name for one in drawn(points, (), [])] == ["a one", "b", "a two"]
    assert drawn(points, ("b",), [])[0].ours == (Point(0.0, 2.0),)


def test_points_are_thinned_evenly_and_counted() -> None:
    points = tuple(Point(float(i), float(i)) for i in range(1001))
    few = thinned(points, 11)
    assert [p.x for p in few] == [100.0 * i for i in range(11)]
    assert thinned(points[:5], 11) == list(points[:5])
    shared = columns([Drawn("a", points), Drawn("b", points[::2])])
    assert isinstance(shared, Columns)
    assert (len(shared.rows), shared.left_out) == (12, 989)
    apart = columns([Drawn(str(i), tuple(Point(x + i / 9, 0.0) for x in range(100))) for i in range(4)])
    assert isinstance(apart, Listed)
    assert len(apart.rows) + apart.left_out == 400


@pytest.mark.parametrize("kind", ["lines", "marks", "bars"])
@pytest.mark.parametrize(
    "points",
    [
        (Point(0.0, 0.0),),
        (Point(2.0, -1.0, -2.0, 3.0), Point(2.0, 5.0)),
        tuple(Point(float(i), 1e6 * i, 1e6 * i - 1, 1e6 * i + 1) for i in range(2000)),
        (Point(-1e-9, 1e-9), Point(1e-9, -1e-9)),
    ],
)
def test_whatever_is_drawn_lies_within_its_figure(kind: str, points: tuple[Point, ...]) -> None:
    svg = str(plot("title", "words", [Drawn("one", points, points[:1]), Drawn("other", points)], kind, "x" * 99, "y"))
    assert len(svg) < 60_000
    places = [tuple(map(float, pair)) for pair in re.findall(r' (?:c?x)="([-\d.]+)" (?:c?y)="([-\d.]+)"', svg)]
    places += [tuple(map(float, pair)) for pair in re.findall(r"[ML](-?[\d.]+) (-?[\d.]+)", svg)]
    assert places
    assert all(0 <= x <= WIDTH and 0 <= y <= HEIGHT for x, y in places)
    assert "nan" not in svg.lower().replace("nan-", "")


def test_marks_of_several_series_at_one_place_do_not_lie_on_each_other() -> None:
    points = (Point(5.0, 1.0, 0.5, 1.5), Point(10.0, 2.0))
    svg = str(plot("title", "words", [Drawn(name, points) for name in "abc"], "marks", "x", "y"))
    places = sorted(float(x) for x in re.findall(r'<use href="#mark\d" x="([-\d.]+)"', svg))
    assert len(places) == 6
    assert all(b - a > 5 for a, b in pairwise(places))
    plane = tuple(Point(i / 7, i % 5) for i in range(40))
    alike = str(plot("title", "words", [Drawn(name, plane) for name in "ab"], "marks", "x", "y"))
    where = re.findall(r'<use href="#mark\d" (x="[-\d.]+" y="[-\d.]+")', alike)
    assert len(where) == 80
    assert len(set(where)) == 40  # where numbers lie in a plane, none is moved
