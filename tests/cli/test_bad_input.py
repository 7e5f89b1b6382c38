"""Whatever a person gets wrong ends in one line that says what, where and what to do: exit code 2, no traceback."""

from __future__ import annotations

import errno
import os
import resource
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
from safetensors.torch import save_file
from tampering import by_hand, edit

from advbench.store import Store, migrations
from advbench.store import connection as store_connection

if TYPE_CHECKING:
    from conftest import Advbench, Results

SUITE = """\
data: toy-blots
models: [toy]
attacks: [pgd]
threats: [linf(eps=0.1)]
"""


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing that lies about is found, and nothing is left about."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ADVBENCH_DATA", raising=False)


@pytest.mark.parametrize(
    ("old", "new", "place", "words"),
    [
        ("attacks:", "atacks:", "3:1", "unknown key 'atacks'; did you mean 'attacks'?"),
        ("[pgd]", "[pdg]", "3:11", "unknown attack 'pdg' (known: noise, apgd, "),
        ("[toy]", "[tyo]", "2:10", "did you mean 'toy'?"),
        ("toy-blots", "toy-blot", "1:7", "did you mean 'toy-blots'?"),
        ("linf(", "lnif(", "4:11", "did you mean 'linf'?"),
        ("[pgd]", "[pgd(trvael=3)]", "3:15", "did you mean 'travel'?"),
        ("[linf(eps=0.1)]", "[{linf: {esp: 0.1}}]", "4:19", "did you mean 'eps'?"),
        ("[linf(eps=0.1)]", "[{linf: {eps: 0.1, exmples: 3}}]", "4:29", "did you mean 'examples'?"),
        ("[pgd]", "[pgd]\nseed: 1\nseed: 2", "5:1", "duplicate key 'seed' (first in line 4)"),
        ("[linf(eps=0.1)]", "[{linf: {eps: 1, eps: 2}}]", "4:27", "duplicate key 'eps'"),
        ("eps=0.1", "eps=-0.1", "4:11", "eps must be at least 0, not -0.1"),
        ("[linf(eps=0.1)]", "[{l2: {eps: -1}}]", "4:12", "eps must be at least 0"),
        ("eps=0.1", "eps=16", "4:11", "did you mean 16/255?"),
        ("eps=0.1", "eps=nan", "4:16", "expected a number (0.3, 8e-3, 8/255, inf)"),
        ("eps=0.1", "eps=1/0", "4:20", "divides by zero"),
        ("[pgd]", "[]", "3:1", "attacks: empty; name at least one"),
        ("[toy]", "", "2:1", "models: empty; name at least one"),
        ("[linf(eps=0.1)]", "[]", "4:1", "threats: empty; name at least one"),
        ("data: toy-blots\n", "", "1:1", "'data' is missing: name at least one"),
        ("[pgd]", "[pgd, pgd]", "3:16", "attacks: 'pgd' is listed twice"),
        ("[pgd]", "[pgd]\nexamples: 0", "4:11", "examples: must be at least 1, not 0"),
        ("[pgd]", "[pgd]\nstop: never", "4:7", "expected one of first, end"),
        ("[pgd]", "[pgd]\ngoals: [class=7]", "4:8", "classes 0 to 2"),
        ("[pgd]", "[pgd(steps=3, travel=2)]", "3:", "inside [ ] YAML splits at commas"),
        ("[pgd]", "[pgd", "4:8", "expected ',' or ']'"),
        ("[pgd]", '["\\e[31mpdg"]', "3:12", "expected a name"),
        ("[toy]", "!!python/name:os.system x", "2:9", "a suite is plain data"),
        ("data:", "data:\t", "1:6", "found character"),
    ],
)
def test_a_mistake_in_a_suite_is_told_with_its_line_and_column(
    advbench: Advbench, tmp_path: Path, old: str, new: str, place: str, words: str
) -> None:
    assert old in SUITE
    Path("mine.yaml").write_text(SUITE.replace(old, new, 1))
    error = advbench("run", "mine.yaml").err
    lines = error.removeprefix("advbench: ").splitlines()
    assert all(line.startswith("mine.yaml:") for line in lines)
    assert lines[0].startswith(f"mine.yaml:{place}")
    assert words in lines[0]
    assert advbench("plan", "mine.yaml").err == error
    assert len(lines) == (2 if "splits" in words or "plain data" in words else 1)
    assert "\x1b" not in error
    assert not Path("results.sqlite").exists()


def test_several_mistakes_are_told_at_once_in_the_order_of_the_file(advbench: Advbench) -> None:
    Path("mine.yaml").write_text(SUITE.replace("[toy]", "[tyo]").replace("[pgd]", "[pdg]").replace("linf", "lnif"))
    done = advbench("run", "mine.yaml")
    assert done.code == 2
    assert [line.removeprefix("advbench: ").split(": ")[0] for line in done.err.splitlines()] == [
        "mine.yaml:2:10",
        "mine.yaml:3:11",
        "mine.yaml:4:11",
    ]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "mine.yaml: the suite is empty"),
        (b"# nothing\n", "mine.yaml: the suite is empty"),
        (b"- a\n", "mine.yaml:1:1: a suite is a mapping with the keys name, examples"),
        (b"hello\n", "mine.yaml:1:1: a suite is a mapping"),
        (bytes(range(256)), "mine.yaml:2: not UTF-8 text; save the suite as UTF-8"),
        (b"\0\0\0SQLite", "mine.yaml: unacceptable character"),
        (b"[" * 5000, "mine.yaml: nested too deep"),
        (b"x" * 1_000_001, "larger than 1 MB; is it a suite?"),
    ],
)
def test_a_file_that_is_no_suite_is_refused_by_its_name(advbench: Advbench, content: bytes, words: str) -> None:
    Path("mine.yaml").write_bytes(content)
    assert words in advbench("run", "mine.yaml").complaint


@pytest.mark.parametrize("written", ["linf(eps=8e-3)", "{linf: {eps: 8e-3}}"])
def test_a_radius_may_be_written_with_an_exponent(advbench: Advbench, written: str) -> None:
    Path("mine.yaml").write_text(SUITE.replace("linf(eps=0.1)", written))
    done = advbench("plan", "mine.yaml")
    assert done.code == 0
    assert "linf 0.008" in done.out


@pytest.mark.parametrize("written", ["linf(eps=8/255)", "{linf: {eps: 8/255}}"])
def test_a_radius_may_be_written_as_a_fraction(advbench: Advbench, written: str) -> None:
    Path("mine.yaml").write_text(SUITE.replace("linf(eps=0.1)", written))
    assert "linf 8/255" in advbench("plan", "mine.yaml").out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["qick"], "no suite 'qick': there is no such file, and the embedded suites are quick; did you mean 'quick'?"),
        (["."], "suite .: a folder; name a suite file in it"),
        (["mine.yaml", "--attack", "pdg"], "--attack \"pdg\": unknown attack 'pdg'"),
        (["mine.yaml", "--attack", "pgd("], '--attack "pgd(": expected'),
        (["mine.yaml", "--model", "tyo"], "did you mean 'toy'?"),
        (["mine.yaml", "--defense", "nnoe"], "did you mean 'none'?"),
        (["mine.yaml", "--dataset", "toy-blts"], "did you mean 'toy-blots'?"),
        (["mine.yaml", "--threat", "linf(eps=-1)"], "eps must be at least 0"),
        (
            ["mine.yaml", "--threat", "linf(eps=8)"],
            "change of pixels in [0, 1] can be; did you mean 8/255? If not, the",
        ),
        (["mine.yaml", "--threat", "l2(eps=128)"], "did you mean 128/255? If not, the largest radius is 8"),
        (["mine.yaml", "--goal", "untargetd"], "did you mean 'untargeted'?"),
        (["mine.yaml", "--examples", "0"], "--examples: must be at least 1, not 0"),
        (["mine.yaml", "--examples", "31"], "toy-blots has 30 examples to judge; the suite asks for 31"),
        (["mine.yaml", "--examples", "many"], "invalid value for '--examples'"),
        (["mine.yaml", "--seed", "-1"], "--seed: must be from 0"),
        (["mine.yaml", "--device", "cuda:77"], "no device 'cuda:77' here; there are: cpu"),
        (["mine.yaml", "--device", "abacus"], "no device 'abacus' here"),
        (["mine.yaml", "--device", "meta"], "no device 'meta' here"),
        (["mine.yaml", "--batch-size", "0"], "--batch-size 0: give auto or a positive number"),
        (["mine.yaml", "--batch-size", "-4"], "--batch-size -4: give auto"),
        (["mine.yaml", "--jobs", "0"], "--jobs 0: give auto, or how many processes, at least 1"),
        (["mine.yaml", "--device", "cpu", "--per-gpu", "2"], "--per-gpu 2 needs a GPU, and this run is on cpu"),
        (["mine.yaml", "--jobs", "two"], "--jobs two: give auto, or how many processes"),
        (["mine.yaml", "--engine", "rays"], "--engine rays: give auto, processes or ray"),
        (["mine.yaml", "--engine", "processes", "--address", "a:1"], "--address a:1 is a Ray cluster's, and processes"),
        (["mine.yaml", "--engine", "ray", "--jobs", "0"], "--jobs 0: give auto, or how many processes, at least 1"),
        (
            ["mine.yaml", "--engine", "ray", "--isolate"],
            "--isolate goes with processes of this machine: on Ray no cell",
        ),
        (["mine.yaml", "--batch-size", "²"], "--batch-size ²: give auto"),
        (["mine.yaml", "--data", "nowhere"], "--data nowhere: no such folder"),
        (["mine.yaml", "--exampels", "3"], "--exampels"),
        (["mine.yaml", "other.yaml"], "unexpected extra argument"),
        (["mine.yaml", "--attack"], "requires an argument"),
        (["mine.yaml", "--attack", "\x1b]0;owned\x07\x1b[31mpdg"], "--attack"),
        (["mine.yaml", "--dataset", "toy-nowhere"], "its images are not here; put blots.npz into a folder given by"),
        (["mine.yaml", "--dataset", "mnist", "--offline"], "mnist"),
        (["mine.yaml", "--defense", "reconstruction"], "nothing to run: reconstruction needs reconstruction, which"),
        (["mine.yaml", "--model", "torchvision(weights=DEFAULT)"], "nothing to run: torchvision(weights=DEFAULT): its"),
        (["mine.yaml", "--model", "toy-trainee", "--defense", "toy-doubtin"], "did you mean 'toy-doubting'?"),
    ],
)
def test_a_wrong_argument_of_run_is_refused_before_anything_runs(
    advbench: Advbench, arguments: list[str], words: str
) -> None:
    Path("mine.yaml").write_text(SUITE)
    assert words in advbench("run", *arguments).complaint


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["frobnicate"], "no such command 'frobnicate'; see `advbench --help`"),
        (["train", "tyo"], "unknown model 'tyo'"),
        (["train", "toy-trainee("], "'toy-trainee(', character 13: expected ')', found the end"),
        (["train", "toy-trainee", "--defense", "a+a"], "unknown defense 'a'"),
        (["train", "toy-trainee", "--dataset", "toy-nowhere"], "its images are not here"),
        (["train"], "missing argument 'MODEL...'"),
        (["study", "michels2091"], "unknown study 'michels2091'"),
        (["study", "michels2019", "--level", "day"], "--level day: give smoke, hour or paper"),
        (["study", "michels2019", "--jobs", "0"], "--jobs 0: give auto, or how many processes, at least 1"),
        (["study", "michels2019", "--device", "abacus"], "no device 'abacus' here"),
        (["data", "mnits"], "did you mean 'mnist'?"),
        (["show", "--db", "none.sqlite"], "none.sqlite: no such database; `advbench run --db none.sqlite` makes one"),
        (["verify", "--db", "none.sqlite"], "no such database"),
        (["export", "aa", "out.npz", "--db", "none.sqlite"], "no such database"),
        (["compare", "a.sqlite", "b.sqlite"], "a.sqlite: no such database"),
        (["compare", "a", "b", "--fail-under", "2"], "--fail-under 2: give a share between 0 and 1"),
        (["compare", "a", "b", "--fail-under", "nan"], "--fail-under nan: give a share between 0 and 1"),
    ],
)
def test_a_wrong_argument_of_another_command_is_refused(advbench: Advbench, arguments: list[str], words: str) -> None:
    assert words in advbench(*arguments).complaint


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["show", "--board", "toy-blots/linf/0.3"], "no board 'toy-blots/linf/0.3' in "),
        (["show", "--cells", "--board", "x"], "there are: toy-blots/l2/1, toy-blots/linf/0.2"),
        (["show", "zzz"], "no cell's key begins with 'zzz'"),
        (["show", ""], "24 cells' keys begin with ''"),
        (["verify", "zzz"], "no cell's key begins with 'zzz'"),
        (["export", "zzz", "out.npz"], "no cell's key begins with 'zzz'"),
        (["export", "zzz", "out.csv"], "out.csv: the name must end in .npz or .safetensors"),
        (["compare", "toy", "tyo"], "no target 'tyo' in "),
        (["compare", "toy", "toy(seed=1)", "--board", "x"], "no board 'x' in common; there are: toy-blots/l2/1"),
        (["compare", "toy", "other.sqlite"], "other.sqlite is a database and the other is not"),
    ],
)
def test_what_a_database_does_not_hold_is_named_beside_what_it_does(
    advbench: Advbench, results: Results, arguments: list[str], words: str
) -> None:
    assert words in advbench(*arguments, "--db", results.db).complaint


@pytest.mark.parametrize("command", [["run", "mine.yaml"], ["show"], ["verify"], ["render"], ["export", "a", "o.npz"]])
def test_what_is_no_database_of_ours_is_refused_and_left_alone(advbench: Advbench, command: list[str]) -> None:
    Path("mine.yaml").write_text(SUITE)
    Path("text.sqlite").write_text("this is not a database, however long it is " * 40)
    with sqlite3.connect("other.sqlite") as other:
        other.execute("CREATE TABLE songs (title)")
    other.close()
    with sqlite3.connect("newer.sqlite") as newer:
        newer.execute(f"PRAGMA application_id = {migrations.APPLICATION_ID}")
        newer.execute("PRAGMA user_version = 99")
        newer.execute("CREATE TABLE cells (key)")
    newer.close()
    before = {path.name: path.read_bytes() for path in Path().glob("*.sqlite")}
    assert "text.sqlite: not a SQLite database" in advbench(*command, "--db", "text.sqlite").complaint
    assert "other.sqlite: a SQLite database, but not one of" in advbench(*command, "--db", "other.sqlite").complaint
    newer_words = "newer.sqlite: written by a newer advbench (schema 99"
    assert newer_words in advbench(*command, "--db", "newer.sqlite").complaint
    assert {path.name: path.read_bytes() for path in Path().glob("*.sqlite")} == before


def test_a_database_that_cannot_be_written_is_named(advbench: Advbench) -> None:
    Path("mine.yaml").write_text(SUITE)
    Path("file").touch()
    assert "is a folder: name a file for the database" in advbench("run", "mine.yaml", "--db", ".").complaint
    assert "the folder nowhere does not exist" in advbench("run", "mine.yaml", "--db", "nowhere/x.sqlite").complaint
    assert "the folder file does not exist" in advbench("run", "mine.yaml", "--db", "file/x.sqlite").complaint
    if Path("/proc").is_dir():  # no one can make files there, not even root
        assert "can't be opened; check that its folder" in advbench("run", "mine.yaml", "--db", "/proc/x.db").complaint


def test_a_full_disk_ends_a_run_in_one_line_and_it_can_be_resumed(
    advbench: Advbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("mine.yaml").write_text(SUITE)
    assert advbench("run", "mine.yaml", "--examples", "1").code == 0
    configured = store_connection.configured

    def nearly_full(connection: sqlite3.Connection) -> sqlite3.Connection:
        connection.execute("PRAGMA max_page_count = 1")  # no more than it has: SQLite's own error, not ours
        return configured(connection)

    with monkeypatch.context() as patch:
        patch.setattr(store_connection, "configured", nearly_full)
        words = advbench("run", "mine.yaml").complaint
    assert words == ("results.sqlite: the disk is full; free some space and run the same command again to resume")
    assert advbench("run", "mine.yaml").code == 0


def test_a_disk_too_full_for_perturbations_ends_a_run_in_one_line(
    advbench: Advbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("mine.yaml").write_text(SUITE)

    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        assert "the disk is full; free some space" in advbench("run", "mine.yaml").complaint
    assert not list(Path("results.artifacts").rglob("*.*"))  # no half files are left
    assert advbench("run", "mine.yaml").code == 0


@pytest.mark.parametrize("name", ["out.npz", "out.safetensors"])
def test_an_export_that_cannot_be_written_says_so_and_leaves_nothing(
    advbench: Advbench, results: Results, name: str
) -> None:
    key = cell_key(results.db)
    assert (
        f"nowhere/{name}: can't be written" in advbench("export", key, f"nowhere/{name}", "--db", results.db).complaint
    )
    Path(name).mkdir()
    assert f"{name}: can't be written" in advbench("export", key, name, "--db", results.db).complaint
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    with Store.open(results.db, readonly=True):  # so that SQLite has made its index
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, limit[1]))
        try:
            assert (
                f"big-{name}: can't be written" in advbench("export", key, f"big-{name}", "--db", results.db).complaint
            )
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert [path.name for path in Path().iterdir()] == [name]


def test_pages_that_cannot_be_written_do_not_hide_that_the_run_succeeded(advbench: Advbench) -> None:
    Path("mine.yaml").write_text(SUITE)
    Path("results-site").touch()
    done = advbench("run", "mine.yaml")
    assert done.code == 0
    assert "1 cells crafted" in done.out
    assert "failed after the run: advbench" in done.out
    assert "results-site" in done.out.split("failed after the run")[1]


def weights_file(path: Path, content: bytes | None) -> Path:
    if content is not None:
        path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "w.safetensors: no such file of weights"),
        (b"", "w.safetensors: the file is empty; download it again"),
        (b"<!DOCTYPE html><html>", "w.safetensors: a web page, not weights; download the file itself"),
        (b"\n  <html>", "w.safetensors: a web page"),
        (b"\x08\x00\x00\x00\x00\x00\x00\x00{}      ", "w.safetensors: not the weights of toy-trainee"),
        (b"\x10\x00\x00\x00\x00\x00\x00\x00{not json at all", "w.safetensors: a damaged safetensors file"),
        (b"\xff" * 64, "w.safetensors: no safetensors file, or cut short; download it again"),
        (b"PK\x03\x04 not a zip", "w.safetensors: can't be loaded (damaged)"),
        (b"\x80\x02cos\nsystem\n(S'true'\ntR.", "running its code is not safe"),
    ],
)
def test_a_file_that_is_no_weights_is_refused_with_what_it_seems_to_be(
    advbench: Advbench, content: bytes | None, words: str
) -> None:
    Path("mine.yaml").write_text(SUITE)
    weights_file(Path("w.safetensors"), content)
    assert words in advbench("run", "mine.yaml", "--model", "toy-trainee(weights=w.safetensors)").complaint


def test_weights_that_do_not_fit_name_the_tensor(advbench: Advbench) -> None:
    Path("mine.yaml").write_text(SUITE)
    shapes = {"0.weight": (4, 1, 3, 3), "0.bias": (4,), "3.weight": (3, 256), "3.bias": (5,)}
    save_file({key: torch.zeros(shape) for key, shape in shapes.items()}, "w.safetensors")
    words = advbench("run", "mine.yaml", "--model", "toy-trainee(weights=w.safetensors)").complaint
    assert "w.safetensors: not the weights of toy-trainee" in words
    assert "'3.bias' has the shape (5,) instead of (3,)" in words
    words = advbench("run", "mine.yaml", "--model", 'toy-trainee(weights="\x1b[31mw")').complaint
    assert "no such file of weights" in words


def test_cached_weights_that_were_damaged_say_which_file_to_delete(
    advbench: Advbench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ADVBENCH_CACHE", str(tmp_path / "cache"))
    assert advbench("train", "toy-trainee", "--dataset", "toy-blots").code == 0
    (file,) = (tmp_path / "cache").rglob("*.safetensors")
    file.write_bytes(file.read_bytes()[:-8] + b"\0\0\x80\x3f\0\0\x80\x3f")
    words = advbench("train", "toy-trainee", "--dataset", "toy-blots").complaint
    assert f"rm {file}" in words


@pytest.mark.parametrize("damage", ["cut", "missing", "swapped"])
def test_damaged_artifacts_are_found_by_verify_and_refused_by_export(
    advbench: Advbench, results: Results, tmp_path: Path, damage: str
) -> None:
    db = results.copy(tmp_path)
    with by_hand(db) as connection:
        key, sha = connection.execute(
            "SELECT c.key, s.artifact FROM cells c JOIN shards s ON s.cell = c.id WHERE s.shard = 0 ORDER BY c.id"
        ).fetchone()
        if damage == "swapped":
            other = connection.execute("SELECT artifact FROM shards WHERE shard = 1").fetchone()[0]
            connection.execute("UPDATE shards SET artifact = ? WHERE artifact = ?", (other, sha))
    file = tmp_path / "copy.artifacts" / sha[:2] / f"{sha}.safetensors"
    if damage == "cut":
        file.write_bytes(file.read_bytes()[:-1])
    elif damage == "missing":
        file.unlink()
    verified = advbench("verify", key, "--db", db)
    assert verified.code == 1
    assert "Traceback" not in verified.err
    assert f"differs {key[:12]}" in verified.out
    expected = {"cut": "damaged (its sha256 differs); restore", "missing": "missing; restore it from a copy"}
    if damage in expected:
        assert f"{sha}.safetensors: {expected[damage]}" in verified.out
        assert f"{sha}.safetensors: {expected[damage]}" in advbench("export", key, "o.npz", "--db", db).complaint
        assert not Path("o.npz").exists()


def test_an_artifact_of_other_images_is_no_traceback(advbench: Advbench, results: Results, tmp_path: Path) -> None:
    db = results.copy(tmp_path)
    with Store.open(db) as store:
        sha, size = store.artifacts.put({"p.p": torch.zeros(2, 1, 3, 3), "example": torch.tensor([60, 61])})
        store.connection.execute("INSERT INTO artifacts VALUES (?, ?, 'perturbations')", (sha, size))
    edit(db, f"UPDATE shards SET artifact = '{sha}'")
    key = cell_key(db)
    assert "does not hold perturbations of these images" in advbench("verify", key, "--db", db).out
    assert "does not hold perturbations of these images" in advbench("export", key, "o.npz", "--db", db).complaint


def test_names_cannot_steer_the_terminal(advbench: Advbench) -> None:
    Path("mine.yaml").write_text(SUITE.replace("[pgd]", "[toy-sulking]"))
    done = advbench("run", "mine.yaml")
    assert done.code == 1
    assert "failed: toy-sulking in linf 0.1 on toy: RuntimeError: not today" in done.out
    assert "\x1b" not in done.out + done.err
    for shown in (advbench("show"), advbench("show", "--cells"), advbench("plugins")):
        assert shown.code == 0
        assert "\x1b" not in shown.out


def test_a_broken_target_costs_its_cells_and_not_the_run(advbench: Advbench) -> None:
    Path("mine.yaml").write_text(SUITE.replace("[toy]", "[toy, toy-crashing]"))
    done = advbench("run", "mine.yaml")
    assert done.code == 1
    assert "failed: toy-crashing: ValueError: no such layer" in done.out
    assert "1 cells crafted, 0 kept, 0 skipped, 1 failed" in done.out


def test_a_real_process_ends_with_exit_code_2_and_no_traceback(tmp_path: Path) -> None:
    program = shutil.which("advbench", path=str(Path(sys.executable).parent))
    assert program
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}  # a terminal that can't show an ellipsis
    done = subprocess.run([program, "run", "quíck"], capture_output=True, text=True, env=environment, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("advbench: no suite ")
    assert done.stderr.count("\n") == 1


def cell_key(db: Path) -> str:
    connection = sqlite3.connect(db)
    key = connection.execute("SELECT key FROM cells ORDER BY id").fetchone()[0]
    connection.close()
    return str(key)


@pytest.mark.parametrize(
    "ball",
    [
        *("linf(eps=1e308)", "l2(eps=1e308)", "box(eps=1e308)", "corruption(eps=1e308)", "rotate-shift(eps=1e308)"),
        *("rotate-shift(degrees=1e308)", "wasserstein(eps=1e308)", "wasserstein(power=1e308)", "wasserstein(power=90)"),
        "wasserstein(kernel=100001)",
    ],
)
def test_a_ball_that_no_number_can_measure_is_refused(advbench: Advbench, ball: str) -> None:
    Path("mine.yaml").write_text(SUITE)
    assert "must be" in (told := advbench("plan", "mine.yaml", "--threat", ball).complaint) or "too much" in told


@pytest.mark.parametrize("name", ["b" * 5000, os.fsdecode(b"\xff\xfe.sqlite")])
@pytest.mark.parametrize(
    "command",
    [
        *("show --db", "verify --db", "compare a b --db", "export a o.npz --db", "reproduce a --db", "render --db"),
        *("serve --db", "run mine.yaml --db", "merge into.sqlite", "merge"),
    ],
)
def test_a_name_that_no_database_can_have_is_one_line_in_every_command(
    advbench: Advbench, results: Results, command: str, name: str
) -> None:
    Path("mine.yaml").write_text(SUITE)
    more = [str(results.db)] if command == "merge" else []
    assert "name of a file" in advbench(*command.split(), name, *more).complaint


def test_what_is_no_text_is_in_no_database(advbench: Advbench, results: Results) -> None:
    assert "not UTF-8" in advbench("verify", os.fsdecode(b"\xff"), "--db", results.db).complaint
