"""Readers can trust the pages: everything is there, nothing is injected, nothing is fetched."""

from __future__ import annotations

import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

import advbench_leaderboard
from advbench.errors import AdvbenchError
from advbench.store import Store
from advbench_leaderboard.render import render
from advbench_leaderboard.text import shown, slug

COUNT = 40
EVIL = "<script>alert(1)</script>\x1b[31m\x1b]8;;http://evil.example\x07\"'&\u202e{{ 7 * 7 }}"


def fill(path: Path, *, name: str = "digits/rotate-shift/30°,3px", evil: str = "") -> None:
    """Three ranked targets (two of them tied), one unranked, a detector, a failure, a skip and a note."""
    common = {"data_fingerprint": "data", "examples": "set", "count": COUNT, "threat": "linf", "family": "linf"}
    with Store.open(path) as store, store.transaction():
        store.begin_run({"id": "run"})
        store.add_dataset(
            {"fingerprint": "data", "label": f"digits{evil}", "classes": [f"zero{evil}"], "shape": [1, 28, 28]}
            | {"source": f"a folder{evil}", "partial": f"half of it{evil}", "count": COUNT}
        )
        store.add_examples("set", range(COUNT))
        store.add_board(
            {**common, "key": "board", "name": name + evil, "dataset": f"digits{evil}", "eps": 0.3, "protocol": 1}
            | {"required": [f"pgd{evil}", "fgsm"]}
        )
        store.add_skips(
            "run",
            [
                {
                    "dataset": f"digits{evil}",
                    "model": f"small-cnn{evil}",
                    "defenses": "none",
                    "attack": "cw",
                    "goal": "random",
                }
                | {"threat": "rotate-shift/30°,3px" + evil, "reason": f"cw does not search this ball{evil}"},
                {"dataset": "elsewhere", "model": "small-cnn", "defenses": "none", "attack": "cw", "goal": "untargeted"}
                | {"threat": "linf/0.3", "reason": "another data set"},
            ],
        )
        fooled = {"plain": 36, "strong": 4, "strong2": 5, "detector": 20, "lacking": 10}
        for key, wrong in fooled.items():
            detects = key == "detector"
            store.add_target(
                {"key": key, "label": key + evil, "model": key, "defenses": "none", "dataset": "digits"}
                | {"data_fingerprint": "data", "threshold": 0.5 if detects else None, "false_positive_rate": 0.05}
            )
            suspicion = [float(e % 10 == 0) if detects else None for e in range(COUNT)]
            store.add_clean(
                key,
                [
                    {"example": e, "label": 0, "predicted": 0, "confidence": 1.0, "suspicion": suspicion[e]}
                    for e in range(COUNT)
                ],
            )
            for attack in (f"pgd{evil}", "fgsm", "noise"):
                hits = {"fgsm": wrong // 2, "noise": 1}.get(attack, wrong)
                cell = f"{key}-{attack}"
                store.add_cell(
                    {**common, "key": cell, "dataset": "digits", "eps": 0.3, "attack": attack, "goal": "untargeted"}
                    | {"stop": "end", "source": key, "protocol": 1}
                )
                if key == "lacking" and attack == "fgsm":
                    store.add_event(cell, "run", "failed", f"perturb returned NaN{evil}")
                    continue
                rows = [
                    {"example": e, "reached": e < hits, "predicted": int(e < hits), "confidence": 1.0, "size": 0.3}
                    | {"suspicion": float(e % 2) if detects else None}
                    for e in range(COUNT)
                ]
                store.add_shard(cell, {"shard": 0, "first": 0, "count": COUNT, "run": "run"}, {key: rows})
                store.add_event(cell, "run", "done")
        store.add_note("plain", f"masked{evil}", f"a black-box attack is stronger{evil}", "run")


class Reader(HTMLParser):
    """Texts of the table cells by row, and every tag."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.rows: list[list[str]] = []
        self._inside = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self._inside = True
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        self._inside = self._inside and tag not in ("td", "th")

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.rows[-1][-1] += data


def read(path: Path) -> Reader:
    reader = Reader()
    reader.feed(path.read_text(encoding="utf-8"))
    reader.rows = [[" ".join(cell.split()) for cell in row] for row in reader.rows]
    return reader


def row_of(reader: Reader, label: str) -> list[str]:
    return next(row for row in reader.rows if len(row) > 4 and row[1].split(" ")[0] == label)


@pytest.fixture
def site(tmp_path: Path) -> tuple[Path, Path]:
    fill(tmp_path / "results.sqlite")
    index, board = render(tmp_path / "results.sqlite", tmp_path / "site")
    return index, board


def test_targets_are_ranked_with_intervals_and_shared_ranks(site: tuple[Path, Path]) -> None:
    reader = read(site[1])
    assert row_of(reader, "strong")[:4] == ["1=", "strong", "90.0 76.9–96.0", "100.0 91.2–100.0"]
    assert row_of(reader, "strong2")[0] == "1="
    assert row_of(reader, "detector")[0] == "3"
    assert row_of(reader, "plain")[0] == "4"
    assert row_of(reader, "plain")[4:7] == ["10.0 4.0–23.1", "55.0 39.8–69.3", "97.5 87.1–99.6"]


def test_an_unranked_target_is_listed_with_the_reason(site: tuple[Path, Path]) -> None:
    row = row_of(read(site[1]), "lacking")
    assert row[0] == "–"
    assert "fgsm failed: perturb returned NaN" in row[1]


def test_a_detectors_misses_stand_beside_its_false_alarms(site: tuple[Path, Path]) -> None:
    assert row_of(read(site[1]), "detector")[-2:] == ["25.0 14.2–40.2 pgd", "10.0 4.0–23.1 set for 5.0"]
    assert row_of(read(site[1]), "plain")[-2:] == ["–", "–"]


def test_nothing_disappears(site: tuple[Path, Path]) -> None:
    rows = read(site[1]).rows
    assert ["lacking", "fgsm", "perturb returned NaN"] in rows
    assert ["small-cnn", "cw → random", "cw does not search this ball"] in rows
    assert "masked a black-box attack is stronger" in row_of(read(site[1]), "plain")[1]
    assert "another data set" not in site[1].read_text()
    assert "half of it" in site[1].read_text()


def test_the_index_names_every_board_and_its_best_target(site: tuple[Path, Path]) -> None:
    reader = read(site[0])
    (row,) = reader.rows[1:]
    assert row[:5] == ["digits/rotate-shift/30°,3px", "strong and others, tied", "90.0 76.9–96.0", "4", "1"]
    (link,) = [attributes["href"] for tag, attributes in reader.tags if tag == "a"]
    assert link == site[1].name
    assert re.fullmatch(r"[a-z0-9.-]+\.html", str(link))


def test_text_from_plugins_is_shown_and_never_obeyed(tmp_path: Path) -> None:
    fill(tmp_path / "results.sqlite", evil=EVIL)
    for page in render(tmp_path / "results.sqlite", tmp_path / "site"):
        text = page.read_text(encoding="utf-8")
        assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
        assert "{{ 7 * 7 }}" in text
        assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", text)
        assert "evil.example" not in text
        assert {tag for tag, _ in read(page).tags}.isdisjoint({"script", "iframe", "object", "img", "form"})
        assert all(not name.startswith("on") for _, attributes in read(page).tags for name in attributes)


def test_pages_ask_nobody_for_anything(site: tuple[Path, Path]) -> None:
    for page in site:
        links = [v for _, a in read(page).tags for k, v in a.items() if k in ("href", "src")]
        assert all(link == "data:," or (page.parent / str(link)).is_file() for link in links)
        assert not re.search(r"https?://|@import|url\(", page.read_text())
        (policy,) = [a["content"] for tag, a in read(page).tags if a.get("http-equiv") == "Content-Security-Policy"]
        assert str(policy).startswith("default-src 'none'; style-src 'sha256-")
        assert "unsafe" not in str(policy)
        assert not any("style" in attributes for _, attributes in read(page).tags)


def test_the_same_database_gives_the_same_bytes_and_rewrites_nothing(site: tuple[Path, Path], tmp_path: Path) -> None:
    before = {page: (page.read_bytes(), page.stat().st_mtime_ns, page.stat().st_ino) for page in site}
    assert render(tmp_path / "results.sqlite", tmp_path / "site") == list(site)
    again = render(tmp_path / "results.sqlite", tmp_path / "elsewhere")
    assert {page: (page.read_bytes(), page.stat().st_mtime_ns, page.stat().st_ino) for page in site} == before
    assert [page.read_bytes() for page in again] == [page.read_bytes() for page in site]
    assert sorted(path.name for path in (tmp_path / "site").iterdir()) == sorted(page.name for page in site)


def test_only_the_page_that_changed_is_rewritten(site: tuple[Path, Path], tmp_path: Path) -> None:
    before = [page.stat().st_ino for page in site]
    with Store.open(tmp_path / "results.sqlite") as store:
        store.add_note("strong", "randomised", "answers differ")
    render(tmp_path / "results.sqlite", tmp_path / "site")
    assert [page.stat().st_ino == inode for page, inode in zip(site, before, strict=True)] == [True, False]


def test_boards_with_similar_names_have_pages_of_their_own() -> None:
    names = ["digits/linf/0.3", "digits linf 0.3", "DIGITS/LINF/0.3", "°", "", "../../etc/passwd", "a" * 500]
    files = [slug(name, f"key{i}") for i, name in enumerate(names)]
    assert len({file.lower() for file in files}) == len(names)
    assert all(re.fullmatch(r"[a-z0-9][a-z0-9.-]*", file) and ".." not in file and len(file) < 100 for file in files)


def test_targets_that_share_a_label_are_told_apart(tmp_path: Path) -> None:
    fill(tmp_path / "results.sqlite")
    with Store.open(tmp_path / "results.sqlite") as store:
        row: dict[str, Any] = {"key": "other-weights", "label": "plain", "model": "plain", "defenses": "none"}
        store.add_target({**row, "dataset": "digits", "data_fingerprint": "data"})
        store.add_clean("other-weights", [{"example": e, "label": 0, "predicted": 0} for e in range(COUNT)])
    text = render(tmp_path / "results.sqlite", tmp_path / "site")[1].read_text()
    assert "plain #other-we" in text
    assert "plain #plain" in text


@pytest.mark.parametrize(
    "evil", ["\x1b[2J", "\x1b]0;title\x07", "\x1bP1$r\x1b\\", "\x9b31m", "\x1bc", "\x00", "\u202e"]
)
def test_terminal_escapes_leave_nothing_behind(evil: str) -> None:
    assert shown(f"a{evil}b").replace(" ", "").replace("31m", "") == "ab"


def test_an_empty_database_renders_an_index(tmp_path: Path) -> None:
    Store.open(tmp_path / "results.sqlite").close()
    (index,) = render(tmp_path / "results.sqlite", tmp_path / "site")
    assert "no boards yet" in index.read_text()


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
    advbench_leaderboard.advbench_commands(app)
    options = ["render", "--db", str(tmp_path / "results.sqlite"), "--out", str(tmp_path / "site")]
    result = CliRunner().invoke(app, options)
    assert result.exit_code == 0, result.output
    assert result.output.strip() == f"1 board: {tmp_path / 'site' / 'index.html'}"
