"""Studies doubted: what is stored is found again, and every forgery of it is told."""

from __future__ import annotations

import json
import shutil
import sqlite3
import zlib
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from toy_study import RATES, Logits, Toy

from advbench import Finding, Findings, Picture, Series
from advbench.plugins.discovery import discover
from advbench.plugins.registry import Registry
from advbench.run.report import Reporter
from advbench.run.session import Settings
from advbench.store import Store
from advbench.store.study_rows import PictureRow
from advbench.studies.analysing import as_rows
from advbench.studies.differences import differences
from advbench.studies.performance import outline, perform_study
from advbench.studies.rechecking import Rechecked, recheck

TELLING = "numbers and claims beside the paper's"


@pytest.fixture(scope="module")
def registry() -> Registry:
    return replace(discover(), studies={"toy": Toy()})


@pytest.fixture(scope="module")
def honest(registry: Registry, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("honest") / "study.sqlite"
    with Store.open(path) as store:
        perform_study(outline(Toy(), "smoke", registry), store, registry, lambda plan: Settings(), Reporter())
    return path


def doubted(path: Path, registry: Registry) -> dict[str, Rechecked]:
    with Store.open(path, readonly=True) as store:
        return {one.label: one for one in recheck(store, registry, Settings())}


def forged(honest: Path, tmp_path: Path, *statements: str, **values: object) -> Path:
    path = tmp_path / "forged.sqlite"
    shutil.copy(honest, path)
    shutil.copytree(honest.with_suffix(".artifacts"), path.with_suffix(".artifacts"), dirs_exist_ok=True)
    with closing(sqlite3.connect(path)) as connection:
        guards = connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall()
        for (guard,) in guards:
            connection.execute(f"DROP TRIGGER {guard}")
        for statement in statements:
            connection.execute(statement, values)
        connection.commit()
    return path


def test_what_is_there_is_found_again(honest: Path, registry: Registry) -> None:
    results = doubted(honest, registry)
    assert list(results) == [RATES.label, "logits", TELLING]
    assert all(one.sound and one.count and not one.left_out for one in results.values())
    gone = replace(registry, studies={})
    assert ["unknown study" in one.unchecked for one in doubted(honest, gone).values()] == [True]


@pytest.mark.parametrize(
    ("statement", "label", "words"),
    [
        ("UPDATE findings SET value = value + 1 WHERE name = 'highest'", "logits", "instead of"),
        ("UPDATE findings SET value = 9e999 WHERE name = 'highest'", "logits", "instead of"),
        ("UPDATE findings SET high = 9e999 WHERE name = 'highest'", "logits", "instead of"),
        ("UPDATE findings SET unit = 'metres' WHERE name = 'highest'", "logits", "metres"),
        ("UPDATE findings SET n = 800 WHERE name = 'highest'", "logits", "800"),
        ("UPDATE points SET y = y + 0.01 WHERE position = 3", "logits", "points of logit lie elsewhere"),
        ("UPDATE points SET name = 'loss'", "logits", "other points"),
        ("UPDATE pictures SET pixels = :black WHERE name = 'first'", "logits", "the picture first looks otherwise"),
        ("UPDATE pictures SET caption = 'fooled'", "logits", "looks otherwise"),
        ("UPDATE claims SET verdict = 'fails' WHERE id = 'toy-1'", TELLING, "toy-1: holds"),
        ("UPDATE claims SET strongest = 'holds' WHERE id = 'toy-2'", TELLING, "toy-2"),
        ("UPDATE published SET value = 90 WHERE place = 'Table 1' AND position = 0", TELLING, "Table 1, number 0"),
        ("UPDATE published SET finding = 'x', absent = NULL WHERE position = 1", TELLING, "Table 1, number 1"),
        ("UPDATE studies SET page = replace(page, 'What fools.', 'Nothing fools.')", TELLING, "its page"),
        ("UPDATE studies SET paper = replace(paper, 'On toys', 'On joys')", TELLING, "says of its paper"),
        ("DELETE FROM claims WHERE id = 'toy-3'", TELLING, "toy-3"),
    ],
)
def test_a_forgery_is_told(
    honest: Path, tmp_path: Path, registry: Registry, statement: str, label: str, words: str
) -> None:
    results = doubted(forged(honest, tmp_path, statement, black=zlib.compress(bytes(28 * 28))), registry)
    assert any(words in text for text in results[label].differences), results[label]


def test_a_cell_that_is_left_out_of_what_was_read_is_told(honest: Path, tmp_path: Path, registry: Registry) -> None:
    """Else an analysis could be performed on those that suit somebody, and nothing about it would look wrong."""
    with Store.open(honest, readonly=True) as store:
        (fgsm,) = [one.key for one in store.cells() if one.attack == "fgsm"]
        (reads,) = [json.loads(one["reads"]) for one in raw(honest) if one["label"] == RATES.label]
    (suite,) = reads["suites"]
    reads["suites"][suite] = [key for key in reads["suites"][suite] if key != fgsm]
    path = forged(
        honest,
        tmp_path,
        "UPDATE analyses SET reads = :reads WHERE label = :label",
        reads=json.dumps(reads),
        label=RATES.label,
    )
    assert any("leaves out the cell" in text for text in doubted(path, registry)[RATES.label].differences)


def raw(path: Path) -> list[dict[str, str]]:
    with closing(sqlite3.connect(path)) as connection:
        connection.row_factory = sqlite3.Row
        return [dict(row) for row in connection.execute("SELECT label, reads FROM analyses")]


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE analyses SET reads = '[]'",
        "UPDATE analyses SET reads = '{}'",
        """UPDATE analyses SET reads = '{"suites": 3}'""",
        """UPDATE analyses SET reads = '{"suites": {"table-1": [[1]]}}'""",
        "UPDATE studies SET page = '7'",
        "UPDATE studies SET level = 'day'",
        "UPDATE claims SET verdict = x'00'",
        "UPDATE findings SET value = 'much'",
    ],
)
def test_what_can_not_be_read_costs_its_own_result(
    honest: Path, tmp_path: Path, registry: Registry, statement: str
) -> None:
    path = tmp_path / "forged.sqlite"
    try:
        forged(honest, tmp_path, statement)
    except sqlite3.IntegrityError:  # the table itself would not have it
        return
    with Store.open(path, readonly=True) as store:
        results = list(recheck(store, registry, Settings()))
    assert any(not one.sound for one in results)
    assert all(len(one.unchecked.splitlines()) <= 1 for one in results)


def test_as_much_as_rounding_moves_is_allowed() -> None:
    def found(value: float, tip: float, shade: float) -> Findings:
        picture = [[[0.5] * 40] * 39 + [[shade] + [0.5] * 39]]
        series = Series.of("curve", [(0, 0), (1, tip), (2, 100)])
        return Findings((Finding("small", value, -0.01, 0.01, 9),), (series,), (Picture("p", picture),))

    stored = as_rows(found(1e-5, 50, 0.5))
    assert differences(as_rows(found(1.05e-5, 50.004, 0.9)), stored) == []  # one pixel of 1,600 is at an edge
    assert len(differences(as_rows(found(1.5e-5, 50.02, 0.5)), stored)) == 2


@pytest.mark.parametrize("pixels", [b"no zlib", zlib.compress(b"x"), zlib.compress(bytes(10**6))])
def test_pictures_that_are_none_look_otherwise(pixels: bytes) -> None:
    fresh = as_rows(Findings(pictures=(Picture("p", [[[0.5]]]),)))
    forged = replace(fresh, pictures=[PictureRow("p", "", 1, 1, 1, pixels)])
    assert differences(fresh, forged) == ["the picture p looks otherwise"]


def test_what_was_not_performed_is_said_and_no_fault(honest: Path, tmp_path: Path, registry: Registry) -> None:
    path = forged(
        honest, tmp_path, "UPDATE study_analyses SET analysis = NULL, reason = 'no photos' WHERE label = 'logits'"
    )
    result = doubted(path, registry)[Logits().label]
    assert (result.sound, result.left_out) == (True, "not performed: no photos")
