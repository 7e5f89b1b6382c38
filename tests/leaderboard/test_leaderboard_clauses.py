"""What readers are promised of every page: heads that explain, tables behind figures, commands, colours, downloads."""

from __future__ import annotations

import csv
import html
import json
import math
import re
import shlex
from itertools import combinations
from pathlib import Path

import gallery_facts
import pytest
import site_facts
from site_facts import COUNT, Reader, read

from advbench.store import Store
from advbench_leaderboard.figures.chart import SERIES, shapes
from advbench_leaderboard.metrics import METRICS
from advbench_leaderboard.pages import provenance
from advbench_leaderboard.render import render
from advbench_leaderboard.tables.form import Table, json_of
from advbench_leaderboard.text import in_order

SIGHT = {
    "full": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "no red cones": ((0.152, 1.053, -0.205), (0.115, 0.786, 0.099), (-0.004, -0.048, 1.052)),
    "no green cones": ((0.367, 0.861, -0.228), (0.280, 0.673, 0.047), (-0.012, 0.043, 0.969)),
    "no blue cones": ((1.256, -0.077, -0.179), (-0.078, 0.931, 0.148), (0.005, 0.691, 0.304)),
}
"""What is left of linear light (Machado et al., 2009, severity 1)."""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A site of boards, and one of galleries, goals at classes and transfer."""
    folder = tmp_path_factory.mktemp("clauses")
    site_facts.fill(folder / "boards.sqlite")
    site_facts.merge(folder / "boards.sqlite", {"strong": 18})
    with Store.open(folder / "boards.sqlite") as store:
        radii = [{"example": e, "family": "linf", "radius": 0.3, "predicted": 0} for e in range(COUNT)]
        store.add_certificates("strong", radii)
    gallery_facts.fill(folder / "gallery.sqlite")
    for name in ("boards", "gallery"):
        render(folder / f"{name}.sqlite", folder / name)
    return folder


def only(folder: Path, pattern: str) -> Path:
    (found,) = folder.glob(pattern)
    return found


def test_every_number_is_defined_behind_the_head_of_its_column(root: Path) -> None:
    unexplained, linked = set(), set()
    for path in root.rglob("*.html"):
        text = path.read_text(encoding="utf-8")
        linked |= set(re.findall(r'"[./]*metrics\.html#([a-z-]+)"', text))
        for head in re.findall(r"<thead>.*?</thead>", text, re.S):
            cells = re.findall(r"<th([^>]*)>(.*?)</th>", head, re.S)
            if "metrics.html#" in cells[0][1]:
                continue  # the corner of a matrix: all its numbers are the same measure
            for attributes, inside in cells:
                words = " ".join(re.sub("<.*?>", "", inside).split())
                if "number" in attributes and "counted" not in attributes and "metrics.html#" not in inside:
                    unexplained.add((path.parent.name, words))
    assert unexplained == set()
    assert linked == {metric.key for metric in METRICS}


def test_a_comparison_has_its_numbers_in_a_table_too(root: Path) -> None:
    page = only(root / "boards", "compare/*.html")
    rows = {row[0]: row for row in read(page).rows if len(row) == 7}
    assert rows["Target"] == ["Target", "Clean", "Robust", "pgd", "cw", "fgsm", "noise"]
    assert rows["plain"][1:4] == ["100.0 91.2–100.0", "10.0 4.0–23.1", "10.0 4.0–23.1"]
    assert rows["lacking"][2] == "–"


def commands(path: Path) -> list[list[str]]:
    return [shlex.split(line) for line in re.findall(r"<code>(advbench [^<]*)", path.read_text("utf-8"))]


def test_the_command_for_a_targets_row_names_every_cell_behind_it(root: Path) -> None:
    (words,) = [words for words in commands(only(root / "boards", "targets/strong-*.html")) if words[1] == "reproduce"]
    assert words[-2:] == ["--db", "boards.sqlite"]
    assert sorted(words[2:-2]) == ["strong-cw", "strong-fgsm", "strong-noise", "strong-pgd"]


@pytest.mark.parametrize(
    ("told", "called"),
    [
        ("advbench run --seed 3 'my suite.yaml'", True),
        ("advbench run; curl https://example.org/x | sh", False),
        ("curl https://example.org/x", False),
        ("advbench run $(reboot)", False),
        ("advbench run 'open", False),
        ("advbench.evaluate", False),
    ],
)
def test_a_command_that_somebody_told_is_offered_to_be_copied_only_where_it_is_one_call(
    tmp_path: Path, told: str, called: bool
) -> None:
    with Store.open(tmp_path / "results.sqlite") as store:
        store.begin_run({"id": "run", "command": told})
    render(tmp_path / "results.sqlite", tmp_path / "site")
    page = (tmp_path / "site/provenance.html").read_text("utf-8")
    shown = f"<code>{html.escape(told).replace('&#x27;', '&#39;')}</code>"
    assert shown in page
    assert (f'<pre class="command">{shown}' in page) == called


def test_the_command_for_transfer_stands_beside_its_numbers(root: Path) -> None:
    due = ["advbench", "reproduce", "plain-pgd", "--on", "strong", "--db", "boards.sqlite"]
    with Store.open(root / "boards.sqlite", readonly=True) as store:
        assert [row["target"] for row in store.rates("transfer")] == ["strong"]
    assert due in commands(only(root / "boards", "transfer/*.html"))
    assert due in commands(only(root / "boards", "cells/plain-pgd-*.html"))


def test_a_targets_page_names_the_attacks_that_failed_on_it(root: Path) -> None:
    text = re.sub("<.*?>", "", only(root / "boards", "targets/lacking-*.html").read_text(encoding="utf-8"))
    assert "Failed or unfinished: fgsm (perturb returned NaN)" in text
    assert "Failed or unfinished" not in only(root / "boards", "targets/plain-*.html").read_text(encoding="utf-8")


def test_the_home_page_says_how_many_examples_there_are(root: Path) -> None:
    text = (root / "boards/index.html").read_text(encoding="utf-8")
    assert f"<dt>Examples</dt><dd>{COUNT}</dd>" in text


def test_a_badge_says_what_the_board_says(root: Path) -> None:
    words = only(root / "boards", "badges/strong2-*.svg").read_text(encoding="utf-8")
    assert ">87.5 % robust, rank 1= of 4</text>" in words
    assert ">digits/rotate-shift/30°,3px</text>" in words
    assert len(list((root / "boards/badges").iterdir())) == 4  # who is unranked has none


def test_tables_of_targets_pages_can_be_downloaded(root: Path) -> None:
    classes = rows_of(root / "gallery/data/classes.csv")
    assert ["b", "False", "x", "y", "8", "8"] in [[r[i] for i in (2, 5, 6, 7, 8, 9)] for r in classes]
    detectors = rows_of(root / "gallery/data/detectors.csv")
    assert {row[2] for row in detectors} == {"target", "a"}
    assert [next(row for row in detectors if row[2] == "a")[i] for i in (6, 7)] == ["0.0", "0.0"]
    differences = {(r[2], r[4]): float(r[6]) for r in rows_of(root / "boards/data/differences.csv")[1:]}
    assert differences["strong", "plain"] == -differences["plain", "strong"] == 0.8
    plugins = rows_of(root / "boards/data/plugins.csv")
    assert ["run", "broken", "bad", "bad", "0", "", "boom"] in plugins
    assert rows_of(root / "boards/data/datasets.csv")[1][:2] == ["data", "digits"]


def rows_of(file: Path) -> list[list[str]]:
    with file.open(encoding="utf-8", newline="") as lines:
        return list(csv.reader(lines))


def test_no_spreadsheet_that_parts_fields_at_semicolons_meets_a_formula(tmp_path: Path) -> None:
    site_facts.fill(tmp_path / "results.sqlite", name="x;=HYPERLINK(1)", evil='y; @SUM(1);"=2')
    render(tmp_path / "results.sqlite", tmp_path / "site")
    for separator in ",;":
        for file in (tmp_path / "site/data").glob("*.csv"):
            with file.open(encoding="utf-8", newline="") as lines:
                fields = [field for row in csv.reader(lines, delimiter=separator) for field in row]
            assert not [field for field in fields if re.match(r"\s*[=+@]", field)], file
    assert rows_of(tmp_path / "site/data/boards.csv")[1][1].startswith("x;'=HYPERLINK(1)")


def test_the_home_page_tells_of_every_change_of_the_facts(tmp_path: Path) -> None:
    site_facts.fill(tmp_path / "results.sqlite")
    render(tmp_path / "results.sqlite", tmp_path / "site")
    with Store.open(tmp_path / "results.sqlite") as store:
        rows = [{"example": e, "reached": 0, "predicted": 0, "size": 0.3} for e in range(COUNT)]
        store.add_judgement("plain-fgsm", 0, "strong", rows)
    render(tmp_path / "results.sqlite", tmp_path / "site")
    assert f"<li>{COUNT} more verdicts</li>" in (tmp_path / "site/index.html").read_text(encoding="utf-8")


def test_a_number_that_is_none_leaves_json_readable() -> None:
    table = Table("t", "T", {"a": "", "b": "", "c": ""}, lambda site: iter([(math.inf, math.nan, 1.5)]))
    rows = table.rows(None)  # type: ignore[arg-type]
    found = json.loads(json_of(table, rows), parse_constant=pytest.fail)
    assert found["rows"] == [{"a": None, "b": None, "c": 1.5}]


def test_plugins_beyond_the_page_are_told_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site_facts.fill(tmp_path / "results.sqlite")
    with Store.open(tmp_path / "results.sqlite") as store:
        store.begin_run({"id": "later", "seed": 0, "protocol": 2})
        store.add_plugins("later", [{"kind": "attack", "label": f"a{i}", "distribution": "x"} for i in range(3)])
    monkeypatch.setattr(provenance, "PLUGIN_LIMIT", 2)
    render(tmp_path / "results.sqlite", tmp_path / "site")
    reader, text = Reader(), (tmp_path / "site/provenance.html").read_text(encoding="utf-8")
    reader.feed(text)
    assert "The first 2; all of them are in" in text
    assert sum(row[0] == "attack" for row in reader.rows if row) == 2


def test_series_are_told_apart_by_dash_and_mark() -> None:
    sheet = (Path(render.__code__.co_filename).parent / "static/site.css").read_text(encoding="utf-8")
    dashes = dict(re.findall(r"\.s(\d) \.line \{ stroke-dasharray: ([\d ]+);", sheet))
    assert sorted(map(int, dashes)) == list(range(1, SERIES))  # the first is drawn through
    assert len(set(dashes.values())) == len(dashes)
    marks = re.findall(r'<g id="mark(\d)" class="mark">(.*?)</g>', shapes())
    assert [int(place) for place, _ in marks] == list(range(SERIES))
    assert len({shape for _, shape in marks}) == SERIES


def test_series_are_told_apart_by_who_sees_no_red_no_green_or_no_blue() -> None:
    sheet = (Path(render.__code__.co_filename).parent / "static/site.css").read_text(encoding="utf-8")
    palettes = [re.findall(r"--s\d: (#[0-9a-f]{6})", text) for text in re.findall(r":root \{(.*?)\}", sheet, re.S)]
    assert [len(palette) for palette in palettes] == [SERIES] * 3
    for palette in palettes:
        for sight, matrix in SIGHT.items():
            for one, other in combinations(palette, 2):
                assert math.dist(seen(one, matrix), seen(other, matrix)) > 20, (sight, one, other)


def seen(colour: str, matrix: tuple[tuple[float, ...], ...]) -> tuple[float, float, float]:
    """CIE L*a*b*, in which 2 is just noticed."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    light = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    r, g, b = (min(1.0, max(0.0, sum(m * c for m, c in zip(row, light, strict=True)))) for row in matrix)
    whole = (0.9505, 1.0, 1.089)
    xyz = (0.4124 * r + 0.3576 * g + 0.1805 * b, 0.2126 * r + 0.7152 * g + 0.0722 * b)
    xyz = (*xyz, 0.0193 * r + 0.1192 * g + 0.9505 * b)
    x, y, z = (
        v ** (1 / 3) if (v := a / w) > 0.008856 else 7.787 * v + 16 / 116 for a, w in zip(xyz, whole, strict=True)
    )
    return 116 * y - 16, 500 * (x - y), 200 * (y - z)


def test_balls_are_listed_by_their_numbers() -> None:
    balls = ["linf/0.25", "linf/0.3", "linf/8", "linf/16", "rotate-shift/5°,1px", "rotate-shift/10°,3px"]
    assert sorted(sorted(balls), key=in_order) == balls
