"""The command line from end to end on plugins of toy size: what each command prints, writes and ends with."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file
from tampering import by_hand, edit

from advbench import AdvbenchError, evaluate
from advbench.cli.options import Asked
from advbench.run import missing_weights
from advbench.store import Store, content
from advbench.terminal.cells import board_of

if TYPE_CHECKING:
    from conftest import Advbench, Results

WIDTHS = ("60", "100", "")
"""Of a narrow terminal, of the one that tables are made for, and of a pipe."""


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ADVBENCH_DATA", raising=False)


@pytest.fixture
def store(results: Results) -> Iterator[Store]:
    with Store.open(results.db, readonly=True) as opened:
        yield opened


def cell(
    store: Store, attack: str, threat: str = "linf", goal: str = "untargeted", source: str = "toy"
) -> dict[str, Any]:
    sql = (
        "SELECT c.* FROM cells c JOIN targets t ON t.key = c.source "
        "WHERE c.attack = ? AND c.threat = ? AND c.goal = ? AND t.label = ?"
    )
    (found,) = store.rows(sql, attack, threat, goal, source)
    return found


def test_a_run_ends_with_its_tables_the_counts_and_the_page(results: Results) -> None:
    printed = results.run.out
    assert "toy-blots/linf/0.2 · 20 examples · percent right, 95 % interval" in printed
    assert "toy-blots/l2/1 · 10 examples" in printed
    for target in ("toy", "toy(seed=1)", "toy+toy-doubting", "toy(seed=1)+toy-doubting"):
        assert re.search(rf"^{re.escape(target)}  +100.0  .*\[\d", printed, re.MULTILINE), target
    assert "24 cells crafted, 0 kept, 0 skipped, 0 failed" in printed
    page = Path(printed.split("Leaderboard: ")[1].strip())
    assert page.is_file()
    assert page.parent.parent == results.db.parent


def test_the_same_command_again_crafts_nothing_and_says_so(
    advbench: Advbench, results: Results, tmp_path: Path
) -> None:
    db = results.copy(tmp_path)
    with Store.open(db) as before:
        facts = content(before)
    again = advbench("run", results.suite, "--db", db)
    assert again.code == 0
    assert "0 cells crafted, 24 kept" in again.out
    with Store.open(db) as after:
        assert content(after) == facts


@pytest.mark.parametrize("how", [("--isolate",), ("--jobs", "2"), ("--jobs", "2", "--isolate")], ids=" ".join)
def test_other_processes_give_the_same_facts(advbench: Advbench, tmp_path: Path, how: tuple[str, ...]) -> None:
    (tmp_path / "two.yaml").write_text(
        "data: toy-blots\nexamples: 9\nshard: 5\nmodels: toy\nattacks: [noise, pgd(steps=3)]\nthreats: linf(eps=0.2)\n"
    )
    assert advbench("run", "two.yaml", "--db", "here.sqlite").code == 0
    done = advbench("run", "two.yaml", "--db", "there.sqlite", *how)
    assert done.code == 0, done.out + done.err
    with Store.open("here.sqlite") as here, Store.open("there.sqlite") as there:
        assert content(here) == content(there)


def test_a_failed_cell_is_told_with_its_reason_and_ends_the_run_with_1(advbench: Advbench, results: Results) -> None:
    done = advbench("run", results.suite, "--attack", "toy-sulking", "--model", "toy", "--defense", "none")
    assert done.code == 1
    assert done.out.count("failed: toy-sulking in linf 0.2 on toy: RuntimeError: not today") == 1
    assert "toy is unranked: toy-sulking failed: RuntimeError: not today" in done.out
    assert "0 cells crafted, 0 kept, 2 skipped, 1 failed" in done.out  # in l2 it is skipped, with both goals
    shown = advbench("show", "--cells")
    assert re.search(r"RuntimeError: not today", shown.out)
    assert advbench("show", re.search(r"^([0-9a-f]{12})  ", shown.out, re.MULTILINE)[1]).out.count("failed") == 1  # type: ignore[index]


@pytest.fixture
def broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """An installed plugin that can't be imported, and what every command says of it."""
    metadata = tmp_path / "broken-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[advbench]\nbroken = advbench_broken\n")
    (tmp_path / "advbench_broken.py").write_text("raise ImportError('no \\x1b[31mcuda\\x1b[0m here')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    return (
        "advbench: broken 1.0 (entry point broken) is broken and was left out: ImportError: no cuda here; "
        "`advbench plugins --traceback` shows where\n"
    )


@pytest.mark.parametrize(
    "command",
    [
        ("plan",),
        ("run", "quick", "--model", "toy", "--dataset", "toy-blots", "--attack", "noise", "--examples", 3),
        ("check", "toy-doubting"),
        ("data",),
        ("speed", "--model", "toy", "--dataset", "toy-blots", "--examples", 3, "--rounds", 1, "--alone"),
        ("train", "toy-trainee", "--dataset", "toy-blots"),
        ("plugins", "--attacks"),
    ],
    ids=lambda command: command[0],
)
def test_a_broken_plugin_is_one_line_beside_what_still_works(
    advbench: Advbench, broken: str, command: tuple[object, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = advbench(*command)
    assert (done.code, done.err) == (0, broken)


def test_commands_that_read_a_database_speak_of_a_broken_plugin_where_plugins_matter(
    advbench: Advbench, broken: str, results: Results, store: Store
) -> None:
    cell = store.rows("SELECT key FROM cells")[0]["key"][:12]
    for command in (["verify", cell], ["reproduce", cell]):
        assert advbench(*command, "--db", results.db).err == broken
    assert advbench("show", "--db", results.db).err == ""


def test_who_names_what_a_broken_plugin_may_have_brought_is_told_so(advbench: Advbench, broken: str) -> None:
    brought = "a plugin that is broken may have shipped it, see `advbench plugins`: broken 1.0"
    for command in (["plan", "--attack", "foo"], ["run", "--model", "foo"], ["train", "foo"]):
        done = advbench(*command)
        assert done.code == 2
        said, error = done.err.splitlines(keepends=True)
        assert said == broken
        assert brought in error
    assert brought in advbench("check", "foo").complaint
    assert brought in advbench("foo").complaint


@pytest.mark.parametrize("arguments", [["broken"], ["broken", "toy-doubting"], ["Broken"]])
def test_check_fails_what_cannot_be_loaded(advbench: Advbench, broken: str, arguments: list[str]) -> None:
    done = advbench("check", *arguments)
    assert (done.code, done.err) == (1, "")
    (line,) = [line for line in done.out.splitlines() if line.startswith("FAILED")]
    assert "broken-can-be-loaded: broken 1.0 (entry point broken) is broken and was left out: ImportError" in line


def test_python_warns_of_a_broken_plugin(broken: str, toys: None) -> None:
    with pytest.warns(UserWarning, match=r"broken 1\.0 \(entry point broken\) is broken and was left out: ImportError"):
        evaluate("toy", dataset="toy-blots", threats="linf(eps=0.1)", attacks="noise", examples=3)
    with (
        pytest.warns(UserWarning, match="is broken"),
        pytest.raises(AdvbenchError, match="may have shipped it, see `advbench plugins`: broken 1"),
    ):
        evaluate("toy", dataset="toy-blots", threats="linf(eps=0.1)", attacks="foo", examples=3)


def test_strict_refuses_to_run_beside_a_broken_plugin(advbench: Advbench, broken: str) -> None:
    listed = advbench("plugins")
    assert listed.code == 1
    assert listed.out.startswith("broken: broken 1.0 (entry point broken): ImportError: no")
    assert "toy-blots" in listed.out
    assert listed.err.startswith("advbench: broken, and so not in the list: broken 1.0 (entry point broken); ")
    assert "\x1b" not in listed.out
    assert "advbench_broken.py" not in listed.out
    assert "advbench_broken.py" in advbench("plugins", "--traceback").out
    assert advbench("plan").code == 0
    for command in ("plan", "run"):
        assert "broken plugins (see `advbench plugins`): broken 1.0" in advbench(command, "--strict").complaint
    strict = advbench("plugins", "--strict")
    assert strict.code == 2
    assert "toy-blots" in strict.out


def test_show_reads_the_curves_of_detectors(advbench: Advbench, results: Results, store: Store) -> None:
    done = advbench("show", "--detectors", "--db", results.db, "--board", "toy-blots/linf/0.2")
    assert done.code == 0, done.out + done.err
    found = re.findall(r"^toy-blots/linf/0.2 +toy\+toy-doubting +(\S+)((?: +[\d.]+){5}) *$", done.out, re.MULTILINE)
    assert [name for name, _ in found] == ["noise", "pgd(steps=3)"]
    for name, shares in found:
        fooled, *undetected = map(float, shares.split())
        row = store.rows(
            "SELECT fooled, n FROM fooling WHERE board_name = 'toy-blots/linf/0.2' AND entrant = ? "
            "AND source_label = 'toy+toy-doubting'",
            name,
        )[0]
        assert fooled == pytest.approx(100 * row["fooled"] / row["n"], abs=0.05)
        assert fooled >= undetected[0]
        assert undetected == sorted(undetected, reverse=True)


def test_show_lists_boards_cells_and_one_cell(advbench: Advbench, results: Results, store: Store) -> None:
    boards = advbench("show", "--db", results.db)
    printed = re.sub(r"^cell \d+ of 24: .*\n", "", results.run.out, flags=re.MULTILINE)  # told where it takes long
    assert boards.out.strip() == printed.split("24 cells crafted")[0].strip()
    one = advbench("show", "--db", results.db, "--board", "toy-blots/l2/1")
    assert "toy-blots/l2/1" in one.out
    assert "linf" not in one.out
    cells = advbench("show", "--cells", "--db", results.db)
    assert len(re.findall(r"^[0-9a-f]{12}  ", cells.out, re.MULTILINE)) == 24
    assert "pgd(steps=3) → random" in cells.out
    some = advbench("show", "--cells", "--db", results.db, "--board", "toy-blots/linf/0.2")
    assert len(re.findall(r"^[0-9a-f]{12}  ", some.out, re.MULTILINE)) == 8
    wanted = cell(store, "pgd(steps=3)")
    shown = advbench("show", wanted["key"][:8], "--db", results.db).out
    assert wanted["key"] in shown
    assert "toy-blots/linf/0.2" in shown
    assert re.search(r"own: toy +fooled \d+\.\d % of 20", shown)
    assert re.search(r"transfer: toy\(seed=1\) +fooled \d+\.\d % of 20", shown)


def test_attacks_in_another_order_are_the_same_board(advbench: Advbench, results: Results, tmp_path: Path) -> None:
    for first, second in (("noise", "fgsm"), ("fgsm", "noise")):
        done = advbench(
            *("run", results.suite, "--threat", "linf(eps=0.2)", "--model", "toy", "--defense", "none"),
            *("--attack", first, "--attack", second, "--db", tmp_path / "order.sqlite"),
        )
        assert done.code == 0, done.err
    with Store.open(tmp_path / "order.sqlite", readonly=True) as opened:
        assert len(opened.boards()) == 1


def test_a_cell_without_a_radius_is_listed_on_each_board_that_it_serves_with_that_board_s_rate(
    advbench: Advbench, tmp_path: Path
) -> None:
    (tmp_path / "radii.yaml").write_text(
        "data: toy-blots\nmodels: toy\nexamples: 20\nattacks: ddn(steps=4)\nthreats: [l2(eps=0.05), l2(eps=3)]\n"
    )
    db = tmp_path / "radii.sqlite"
    assert advbench("run", tmp_path / "radii.yaml", "--db", db).code == 0
    with Store.open(db, readonly=True) as opened:
        rates = {row["board_name"]: row["rate"] for row in opened.rates("fooling")}
        (key,) = {row["cell"] for row in opened.rates("fooling")}
    assert rates["toy-blots/l2/0.05"] < rates["toy-blots/l2/3"]
    listed = advbench("show", "--cells", "--db", db).out
    assert re.findall(r"^[0-9a-f]{12} .* (toy-blots/\S+) .* ([\d.]+)$", listed, re.MULTILINE) == [
        (board, f"{100 * rate:.1f}") for board, rate in sorted(rates.items())
    ]
    some = advbench("show", "--cells", "--db", db, "--board", "toy-blots/l2/3").out
    assert "toy-blots/l2/3" in some
    assert "inf" not in some
    assert "toy-blots/l2/0.05" not in some
    one = advbench("show", key[:12], "--db", db).out
    for board, rate in rates.items():
        assert re.search(rf"own: toy, {board} +fooled {100 * rate:.1f} % of 20", one)


@pytest.mark.parametrize("columns", WIDTHS)
@pytest.mark.parametrize(
    "arguments",
    [
        ["show"],
        ["show", "--cells"],
        ["show", "--detectors"],
        ["compare", "toy", "toy(seed=1)"],
        ["plan"],
        ["plugins"],
        ["data", "toy-blots"],
    ],
    ids=" ".join,
)
def test_every_table_can_be_read_whatever_the_width(
    advbench: Advbench, results: Results, arguments: list[str], columns: str
) -> None:
    db = ["--db", str(results.db)] if arguments[0] in ("show", "compare") else []
    done = advbench(*arguments, *db, COLUMNS=columns)
    assert done.code == 0, done.err
    assert "\x1b" not in done.out
    assert "…" not in done.out  # nothing is cut off
    if columns == "100":
        assert max(map(len, done.out.splitlines())) <= 100
    if columns != "60":  # where attacks that do not fit come in a table of their own
        whole = advbench(*arguments, *db, COLUMNS="119" if columns else "400").out
        assert sorted(re.sub(r"[\s─]", "", done.out)) == sorted(re.sub(r"[\s─]", "", whole))


def test_a_table_with_more_attacks_than_fit_goes_on_below(advbench: Advbench, results: Results) -> None:
    attacks = [word for steps in range(1, 12) for word in ("--attack", f"pgd(steps={steps})")]
    done = advbench(
        "run", results.suite, *attacks, "--examples", "3", "--model", "toy", "--threat", "linf(eps=0.2)", COLUMNS="80"
    )
    assert done.code == 0
    assert max(map(len, done.out.splitlines())) <= 100
    assert "3 examples, continued" in done.out
    tables = done.out.partition("weak evidence")[0]  # a note names some of them, too
    assert len(re.findall(r"\(steps=\d+\)", tables)) == 11


def test_compare_pairs_two_targets_and_answers_with_its_exit_code(advbench: Advbench, results: Results) -> None:
    db = ("--db", str(results.db))
    done = advbench("compare", "toy", "toy(seed=1)", *db)
    assert done.code == 0
    assert "A is toy, B is toy(seed=1)" in done.out
    assert re.search(r"toy-blots/linf/0.2 +20 ", done.out)
    assert re.search(r"toy-blots/l2/1 +10 ", done.out)
    under = advbench("compare", "toy", "toy(seed=1)", *db, "--fail-under", "1", "--board", "toy-blots/linf/0.2")
    assert under.code == 1
    assert re.search(r"toy-blots/linf/0.2: robust accuracy \d+\.\d % is under 100.0 %", under.out)
    assert "toy-blots/l2/1" not in under.out
    assert advbench("compare", "toy", "toy(seed=1)", *db, "--fail-under", "0").code == 0


def test_compare_holds_two_databases_against_each_other(advbench: Advbench, results: Results, tmp_path: Path) -> None:
    tampered = results.copy(tmp_path)
    clean = "SELECT (c.label + 1) % 3 FROM clean c WHERE c.target = outcomes.target AND c.example = outcomes.example"
    edit(tampered, f"UPDATE outcomes SET predicted = ({clean})")
    same = advbench("compare", results.db, results.db, "--fail-if-worse")
    assert same.code == 0
    assert "no significant difference" in same.out
    worse = advbench("compare", results.db, tampered, "--fail-if-worse")
    assert worse.code == 1
    assert re.search(r"toy-blots/linf/0.2, toy: B is significantly worse \(p = ", worse.out)
    assert advbench("compare", tampered, results.db, "--fail-if-worse").code == 0
    assert "B is better" in advbench("compare", tampered, results.db).out


@pytest.mark.parametrize("name", ["out.npz", "out.safetensors"])
def test_export_writes_what_was_judged(advbench: Advbench, results: Results, store: Store, name: str) -> None:
    wanted = cell(store, "pgd(steps=3)")
    done = advbench("export", wanted["key"][:10], name, "--db", results.db)
    assert done.code == 0
    assert done.out.startswith(f"{name}: 20 examples (original, adversarial, ")
    arrays = dict(np.load(name)) if name.endswith(".npz") else load_file(name)
    original, adversarial = arrays["original"], arrays["adversarial"]
    assert original.shape == adversarial.shape == (20, 1, 8, 8)
    assert original.dtype == adversarial.dtype == np.float32
    assert adversarial.min() >= 0
    assert adversarial.max() <= 1
    moved = np.abs(adversarial - original).reshape(20, -1).max(1)
    assert (moved <= 0.2 + 1e-6).all()
    np.testing.assert_allclose(moved, arrays["size"], atol=1e-6)
    outcomes = {row.example: row for row in store.outcomes(wanted["key"], wanted["source"])}
    for place, example in enumerate(arrays["example"].tolist()):
        row = outcomes[example]
        assert row.label == arrays["label"][place] == example % 3
        assert row.predicted == arrays["predicted"][place]
        assert row.reached == arrays["reached"][place]
        assert row.goal_label == arrays["goal_label"][place]
    assert not arrays["violation"].any()
    assert list(Path().iterdir()) == [Path(name)]
    import advbench_toys

    with torch.no_grad():
        answers = advbench_toys.network(0, 1.0)(torch.from_numpy(adversarial)).argmax(1)
    assert answers.tolist() == arrays["predicted"].tolist()


def test_verify_finds_that_everything_agrees(advbench: Advbench, results: Results) -> None:
    done = advbench("verify", "--no-mark", "--db", results.db)
    assert done.code == 0, done.out
    assert "all verified" in done.out
    assert len(re.findall(r"^verified [0-9a-f]{12} ", done.out, re.MULTILINE)) == 24
    assert len(re.findall(r"^verified clean answers of", done.out, re.MULTILINE)) == 4


@pytest.mark.parametrize(
    ("sql", "words"),
    [
        ("UPDATE outcomes SET reached = 1 - reached WHERE cell = 1 AND example = 63", "example 63 on toy: reached"),
        ("UPDATE outcomes SET predicted = (predicted + 1) % 3 WHERE cell = 1 AND example = 63", "predicted"),
        ("UPDATE outcomes SET size = size / 2 WHERE cell = 1 AND example = 63", "size"),
        ("UPDATE outcomes SET confidence = 0.999 WHERE cell = 1", "confidence"),
        ("UPDATE outcomes SET suspicion = suspicion + 1 WHERE suspicion IS NOT NULL", "suspicion"),
        ("UPDATE outcomes SET goal_label = (goal_label + 1) % 3 WHERE cell = 1 AND example = 63", "the goal is"),
        ("UPDATE outcomes SET violation = 'outside the ball' WHERE cell = 1 AND example = 63", "violation None"),
        ("DELETE FROM outcomes WHERE cell = 1 AND example = 63", "example 63 on toy: is not stored"),
        ("UPDATE outcomes SET example = 64 + 1000 WHERE cell = 1 AND example = 64", "stored, but no perturbation is"),
        ("UPDATE clean SET predicted = (predicted + 1) % 3 WHERE target = 1 AND example = 63", "example 63: predicted"),
        ("UPDATE clean SET label = (label + 1) % 3 WHERE target = 1 AND example = 63", "example 63: label"),
        ("UPDATE targets SET threshold = threshold + 1 WHERE threshold IS NOT NULL", "the detector's threshold is"),
        (
            "UPDATE targets SET weights_sha256 = 'ab' || substr(weights_sha256, 3)",
            "its key is not that of what it says",
        ),
    ],
)
def test_verify_finds_what_somebody_changed(
    advbench: Advbench, results: Results, tmp_path: Path, sql: str, words: str
) -> None:
    db = results.copy(tmp_path)
    connection = sqlite3.connect(db)
    connection.execute("PRAGMA foreign_keys = OFF")
    connection.close()
    edit(db, sql)
    done = advbench("verify", "--db", db)
    assert done.code == 1, done.out
    assert "Traceback" not in done.err
    assert words in done.out
    assert "could not be verified" in done.out


@pytest.mark.parametrize("model", ["toy-trainee", "toy"])  # one has a recipe, the other comes with weights of its own
def test_verify_says_when_the_weights_are_others_now(advbench: Advbench, tmp_path: Path, model: str) -> None:
    (tmp_path / "one.yaml").write_text(
        f"data: toy-blots\nexamples: 6\nmodels: {model}(weights=w.safetensors)\n"
        "attacks: noise\nthreats: linf(eps=0.1)\n"
    )
    import advbench_toys

    def weights(seed: int) -> None:
        state = advbench_toys.network(seed, 1.0).state_dict()
        save_file({key: value.numpy() for key, value in state.items()}, "w.safetensors")

    weights(0)
    assert advbench("run", "one.yaml").code == 0
    assert advbench("verify").code == 0
    weights(1)
    other = advbench("verify")
    assert other.code == 1
    assert re.search(
        rf"not checked .*\n· {model}\(weights=w.safetensors\): "
        r"the weights here \(\w{12}\) are not those that were judged",
        other.out,
    )
    Path("w.safetensors").unlink()
    gone = advbench("verify")
    assert gone.code == 1
    assert "w.safetensors: no such file of weights" in gone.out
    with Store.open("results.sqlite", readonly=True) as store:
        (cell,) = store.rows("SELECT key FROM cells")
    assert advbench("reproduce", cell["key"]).complaint == "w.safetensors: no such file of weights"


@pytest.mark.parametrize("model", ["toy-trainee", "toy", "torchvision"])
def test_a_file_of_weights_that_is_not_there_is_one_line(advbench: Advbench, model: str) -> None:
    entrant = f"{model}(weights=nowhere.safetensors)"
    run = ("run", "--model", entrant, "--dataset", "toy-blots", "--threat", "linf(eps=0.1)", "--examples", 4)
    for command in (run, ("train", entrant, "--dataset", "toy-blots")):
        assert advbench(*command).complaint == "nowhere.safetensors: no such file of weights"


def test_plan_groups_cells_counts_passes_and_gives_reasons(advbench: Advbench, results: Results) -> None:
    done = advbench("plan", results.suite, "--attack", "toy-sulking", "--attack", "fgsm", "--goal", "each")
    assert done.code == 0
    assert "toys: 36 cells on toy-blots" in done.out
    assert re.search(r"^linf 0.2 +toy-sulking → class=0, class=1, class=2; fgsm → class=0,", done.out, re.MULTILINE)
    assert re.search(r"^l2 1 +fgsm → class=0, class=1, class=2 .* 10 +12 ", done.out, re.MULTILINE)
    assert "toy-sulking, each, in l2/1" in done.out
    assert "toy-sulking does not search l2 balls" in done.out
    assert "forward passes, and those of the cells marked with ?;" in done.out
    assert not list(Path().iterdir())  # planning leaves nothing behind


def test_plan_of_quick_needs_neither_data_nor_weights(advbench: Advbench) -> None:
    done = advbench("plan")
    assert done.code == 0
    assert "quick: 60 cells on mnist-5k" in done.out
    assert "reconstruction needs reconstruction, which small-cnn does not offer" in done.out


def test_plugins_tells_who_shipped_what(advbench: Advbench) -> None:
    done = advbench("plugins")
    assert re.search(r"^attack +pgd +advbench \S+ +Projected gradient descent", done.out, re.MULTILINE)
    assert re.search(r"^data set +toy-blots +advbench-toys 1.0 +Three kinds of blots.", done.out, re.MULTILINE)


def test_data_tells_where_it_looked_and_what_it_found(advbench: Advbench, tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    done = advbench("data", "--data", "here")
    assert done.out.startswith("Looked in: here, data\n")
    assert re.search(r"^toy-nowhere +3 +1×8×8 +not on this machine", done.out, re.MULTILINE)
    loaded = advbench("data", "toy-blots")
    assert re.search(r"^toy-blots +3 +1×8×8 +45 / 15 / 30 +[0-9a-f]{16} +made here", loaded.out, re.MULTILINE)


def test_train_keeps_weights_finds_them_again_and_checks_them(
    advbench: Advbench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ADVBENCH_CACHE", str(tmp_path / "cache"))
    made = advbench("train", "toy-trainee", "--dataset", "toy-blots")
    assert made.code == 0, made.err
    assert re.search(r"toy-trainee on toy-blots: \d+\.\d % right on the calibration part", made.out)
    again = advbench("train", "toy-trainee", "--dataset", "toy-blots")
    assert "toy-trainee on toy-blots: already there: cached:" in again.out
    shelf = advbench("train", "toy-trainee", "--dataset", "toy-blots", "--publish", "shelf")
    assert re.search(
        r"published: shelf/toy-trainee\+toy-blots.safetensors, \d+\.\d % right on the \d+ judged", shelf.out
    )
    (entry,) = json.loads(Path("shelf/manifest.json").read_text())["weights"]
    assert {"name", "file", "sha256", "recipe", "accuracy", "tested", "hardware", "minutes"} <= entry.keys()
    checked = advbench("train", "toy-trainee", "--dataset", "toy-blots", "--check")
    assert checked.code == 0
    assert "toy-trainee on toy-blots: agrees: " in checked.out
    refused = advbench("train", "toy", "--dataset", "toy-blots", "--check")
    assert "nothing to compare with" in refused.complaint


def test_train_makes_what_a_suite_lacks_so_that_it_can_be_run_in_parts(
    advbench: Advbench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ADVBENCH_CACHE", str(tmp_path / "cache"))
    suite, db = tmp_path / "few.yaml", tmp_path / "part.sqlite"
    suite.write_text(
        "data: toy-blots\nexamples: 4\nmodels: [toy, toy-trainee]\nattacks: noise\nthreats: linf(eps=0.2)\n"
    )
    refused = advbench("run", suite, "--part", "1/2", "--train", "--db", db).complaint
    assert refused.startswith("--part 1/2: toy-trainee must be trained before a run is cut into parts")
    assert refused.endswith(f"copy the folder {tmp_path / 'cache/weights'} to every machine")
    assert not db.exists()
    assert re.search(r"toy-trainee on toy-blots: \d+\.\d % right", advbench("train", suite).out)
    assert "toy-trainee on toy-blots: already there" in advbench("train", suite).out
    assert advbench("run", suite, "--part", "1/2", "--db", db).code == 0


def test_help_and_version_are_there_for_every_command(advbench: Advbench) -> None:
    assert re.fullmatch(r"advbench \d+\.\d+.*\n", advbench("--version").out)
    whole = advbench("--help")
    assert whole.code == 0
    names = re.findall(r"^  ([a-z]+)  ", whole.out.split("Commands:")[1], re.MULTILINE)
    assert {"run", "plan", "plugins", "show", "compare", "verify", "export", "check", "train", "data", "render"} <= {
        *names
    }
    for name in names:
        done = advbench(name, "--help")
        assert done.code == 0
        assert done.out.startswith(f"Usage: advbench {name} [OPTIONS]")
        assert not re.search(r"^ +--.*<list", done.out, re.MULTILINE)  # Python's types are no help
    empty = advbench()
    assert empty.code == 2
    assert "Commands:" in empty.out


def test_an_interrupted_run_says_how_to_go_on(
    advbench: Advbench, results: Results, monkeypatch: pytest.MonkeyPatch
) -> None:
    import signal

    from advbench.run.report import Reporter

    shards = []

    def pressed(self: Reporter, examples: int, *, cached: bool) -> None:
        shards.append(examples)
        signal.raise_signal(signal.SIGINT)

    with monkeypatch.context() as patch:
        patch.setattr("advbench.cli.progress.Display.shard", pressed)
        done = advbench("run", results.suite, "--db", "mine.sqlite")
    assert done.code == 130
    assert len(shards) == 1
    assert "Stopping after the current shard; Ctrl-C again stops at once." in done.out
    command = f"advbench run {results.suite} --db mine.sqlite"
    assert f"Stopped; nothing is lost. Go on with: {command}" in done.out
    assert advbench("run", results.suite, "--db", "mine.sqlite").code == 0
    with Store.open("mine.sqlite") as mine, Store.open(results.db, readonly=True) as whole:
        assert content(mine) == content(whole)


def test_a_run_whose_data_are_missing_leaves_nothing_behind(
    advbench: Advbench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from advbench_datasets.mnist import Mnist

    def download(self: Mnist, root: Path) -> None:
        (root / "MNIST/raw").mkdir(parents=True)
        raise OSError("no route to host")

    monkeypatch.setattr(Mnist, "download", download)
    assert "no route to host" in advbench("run", "--dataset", "mnist").complaint
    assert "not on this machine" in advbench("run", "--dataset", "mnist", "--offline").complaint
    with pytest.raises(AdvbenchError, match="no route to host"):
        evaluate("small-cnn", dataset="mnist", threats="linf(eps=0.1)", db="mine.sqlite")
    assert not list(tmp_path.iterdir())


LONG = ("--model", "toy-trainee", "--dataset", "toy-blots", "--threat", "linf(eps=0.1)", "--attack", "noise")


def test_a_training_that_takes_long_is_asked_for_and_leaves_nothing_behind(
    advbench: Advbench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ADVBENCH_CACHE", str(tmp_path / "cache"))
    chain = "adversarial-training(threat=linf, epochs=1000000)"
    lines = [
        advbench("run", *LONG, "--examples", 4, "--defense", chain).complaint,
        advbench("run", *LONG, "--examples", 4, "--defense", f"{chain}+toy-doubting").complaint,
    ]
    with pytest.raises(AdvbenchError) as error:
        evaluate("toy-trainee", dataset="toy-blots", threats="linf(eps=0.1)", attacks="noise", defenses=chain)
    for line in (*lines, str(error.value)):
        assert re.match(
            r"toy-trainee\+adversarial-training\(.*\) has no weights on this machine, and training it on toy-blots "
            r"takes about [\d,]+ (minutes|hours|days) \(estimated from a few steps of its 4000000 epochs on cpu, "
            r"1 thread\); add --train \(in Python: train=True\), or run first: advbench train toy-trainee "
            r"--dataset toy-blots --defense 'adversarial-training\(.*\)'$",
            line,
        ), line
    assert not list(tmp_path.iterdir())


def test_a_long_training_that_was_asked_for_goes_on(
    advbench: Advbench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(missing_weights, "LONGEST", 0.0)

    def cache(name: str) -> dict[str, str]:
        return {"ADVBENCH_CACHE": str(tmp_path / name)}

    run = ("run", *LONG, "--examples", 4, "--defense", "none")
    plan = advbench("plan", *LONG, "--examples", 4, "--defense", "none", **cache("one"))
    assert "Without weights on this machine, to be trained first: toy-trainee." in plan.out
    assert "add --train" in advbench(*run, **cache("one")).complaint
    assert advbench(*run, "--train", **cache("one")).code == 0
    assert advbench(*run, **cache("one")).code == 0, "they are there now"
    assert "to be trained" not in advbench("plan", *LONG, "--defense", "none", **cache("one")).out
    assert advbench("train", "toy-trainee", "--dataset", "toy-blots", **cache("two")).code == 0
    assert advbench(*run, **cache("two")).code == 0
    with Store.open("results.sqlite", readonly=True) as store:
        (cell,) = store.rows("SELECT key FROM cells")
    assert "add --train" in advbench("reproduce", cell["key"], **cache("three")).complaint
    assert advbench("reproduce", cell["key"], "--train", **cache("three")).code == 0
    asked = {"dataset": "toy-blots", "threats": "linf(eps=0.1)", "attacks": "noise", "examples": 4}
    monkeypatch.setenv("ADVBENCH_CACHE", str(tmp_path / "four"))
    with pytest.raises(AdvbenchError, match="train=True"):
        evaluate("toy-trainee", **asked)
    assert evaluate("toy-trainee", train=True, **asked).rates


def test_a_suite_has_all_trained_that_it_lacks_and_says_how_long_it_took(advbench: Advbench, tmp_path: Path) -> None:
    suite = tmp_path / "two.yaml"
    suite.write_text(
        "data: toy-blots\nexamples: 4\nmodels: [toy-trainee, toy]\nattacks: [noise]\nthreats: ['linf(eps=0.1)']\n"
        "defenses: [none, 'adversarial-training(threat=linf, steps=1)']\n"
    )
    cache = {"ADVBENCH_CACHE": str(tmp_path / "cache")}
    made = advbench("train", suite, "--jobs", "2", **cache)
    assert made.code == 0, made.err
    assert re.search(
        r"^toy-trainee on toy-blots: [\d.]+ % right on the calibration part, .* \(trained just", made.out, re.M
    )
    assert "2 trainings in " in made.out
    assert "2 at a time" in made.out
    assert "trained just now" not in advbench("train", suite, **cache).out
    assert "to be trained" not in advbench("plan", suite, **cache).out
    for option in (["--dataset", "toy-blots"], ["--check"], ["--publish", "shelf"]):
        assert f"{option[0]} goes with models" in advbench("train", suite, *option, **cache).complaint
    assert "give it alone" in advbench("train", suite, "toy", **cache).complaint
    assert "--jobs 0: give auto" in advbench("train", suite, "--jobs", "0", **cache).complaint


@pytest.mark.parametrize("attack", ["pgd(steps=0)", "pgd(steps=-3)", "noise(tries=0)", "fgsm(travel=-1)"])
def test_an_attack_that_does_nothing_cannot_make_a_target_look_robust(advbench: Advbench, attack: str) -> None:
    assert "must be at least" in advbench("plan", "--attack", attack).complaint


def test_an_empty_database_is_not_called_verified(advbench: Advbench, tmp_path: Path) -> None:
    Store.open(tmp_path / "empty.sqlite").close()
    assert "has no cells to verify yet" in advbench("verify", "--db", tmp_path / "empty.sqlite").complaint


def test_a_gate_is_not_passed_by_a_board_that_b_never_finished(
    advbench: Advbench, results: Results, tmp_path: Path
) -> None:
    copied = results.copy(tmp_path)
    with sqlite3.connect(copied) as raw:
        raw.execute(
            "INSERT INTO cell_events (cell, at, status, reason) SELECT c.id, '2030', 'failed', 'no luck' FROM cells c "
            "JOIN targets t ON t.key = c.source WHERE t.label = 'toy(seed=1)' AND c.threat = 'l2'"
        )
    raw.close()
    gate = advbench("compare", "toy", "toy(seed=1)", "--db", copied, "--fail-under", "0")
    assert gate.code == 1
    assert "toy(seed=1) has no robust accuracy" in gate.out
    assert advbench("compare", "toy", "toy(seed=1)", "--db", copied).code == 0


def test_a_gate_is_not_passed_by_boards_on_which_no_attack_was_run(advbench: Advbench, tmp_path: Path) -> None:
    (tmp_path / "both.yaml").write_text(
        "data: toy-blots\nmodels: [toy, toy(seed=1)]\nexamples: 10\n"
        "attacks: ddn(steps=2)\nthreats: [linf(eps=0.1), l2(eps=1)]\n"
    )
    db = tmp_path / "both.sqlite"
    assert advbench("run", tmp_path / "both.yaml", "--db", db).code == 0
    assert "toy is unranked: no attack was run" in advbench("show", "--db", db).out
    gate = advbench("compare", "toy", "toy(seed=1)", "--db", db, "--fail-under", "0")
    assert gate.code == 1
    assert "toy-blots/linf/0.1: toy(seed=1) has no robust accuracy: no attack was run" in gate.out
    assert "toy-blots/l2/1" in gate.out


def test_verify_misses_the_examples_that_somebody_took_away(
    advbench: Advbench, results: Results, tmp_path: Path
) -> None:
    copied = results.copy(tmp_path)
    with Store.open(copied) as opened:
        found = cell(opened, "pgd(steps=3)")
        artifacts, shards = opened.artifacts, opened.shards(found["key"])
        whole = artifacts.get(shards[0].artifact)
        kept = {name: part[:1].contiguous() for name, part in whole.items()}
        sha, _ = artifacts.put(kept)
    with by_hand(copied) as raw:
        raw.execute("UPDATE shards SET artifact = ? WHERE cell = ? AND shard = 0", (sha, found["id"]))
        gone = whole["example"].tolist()[1:]
        raw.executemany("DELETE FROM outcomes WHERE cell = ? AND example = ?", [(found["id"], row) for row in gone])
    printed = advbench("verify", found["key"][:12], "--db", copied)
    assert printed.code == 1
    assert "examples have no perturbation" in printed.out


def test_a_cell_stands_where_the_board_of_its_ball_does(store: Store) -> None:
    boards, cells = store.boards(), store.cells()
    names = {(board.threat, board.eps): board.name for board in boards}
    for one in cells:
        assert one.eps is not None
        assert board_of(one, boards) == board_of(one, ()) == names[one.threat, one.eps]
    ball: dict[str, Any] = {"threat": "rotate-shift", "eps": 0.5, "family": "rotate-shift(degrees=30, pixels=3)"}
    ball["params"] = {"eps": 0.5, "degrees": 30.0, "pixels": 3.0}
    turned = replace(cells[0], **ball)
    board = replace(boards[0], **ball, name=f"{turned.dataset}/rotate-shift/15°,1.5px/seed=7", seed=7)
    assert board_of(turned, [*boards, board]) == "toy-blots/rotate-shift/15°,1.5px"
    assert board_of(turned, boards) == "toy-blots/rotate-shift(degrees=30, pixels=3)/0.5"
    assert board_of(replace(cells[0], eps=None, params={"eps": "inf"}), boards) == "toy-blots/linf/inf"


def test_plan_and_run_take_a_suite_with_the_same_changes(advbench: Advbench) -> None:
    asked = {f"--{field.name}" for field in fields(Asked)} - {"--suite"}
    for command in ("plan", "run"):
        shown = advbench(command, "--help").out
        assert asked <= set(re.findall(r"--[a-z-]+", shown))
        assert "[SUITE]" in shown
