"""A stranger's package, really built and installed beside the real wheel, where there is no checkout."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow  # builds an environment of its own

ACME = Path(__file__).parents[1] / "acme"
BROKEN = """\
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "advbench-broken"
version = "2.0"

[project.entry-points.advbench]
broken = "advbench_broken"
"""
FORKS = """\
import gc, json, os, runpy, sys
import torch
gc.freeze()  # or every fork would look through all of torch when it ends, and copy the memory
for line in sys.stdin:
    arguments, environment, out, err = json.loads(line)
    child = os.fork()
    if not child:
        for file, stream in ((os.devnull, 0), (out, 1), (err, 2)):
            os.dup2(os.open(file, os.O_RDWR | os.O_CREAT), stream)
        os.environ.clear()
        os.environ.update(environment)
        sys.argv, sys.path[:0] = arguments, [os.path.dirname(arguments[0])]
        runpy.run_path(arguments[0], run_name="__main__")
        sys.exit()
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""
"""A process of the environment that has loaded torch, which takes two seconds, and nothing else. It runs console
scripts in forks of itself; that they are found and start is tried by those that are started anew."""


@dataclass(frozen=True)
class Machine:
    """An environment of its own, a folder to work in, and a process there that forks."""

    programs: Path
    folder: Path
    forks: subprocess.Popen[str]

    def __call__(self, program: str, *arguments: str, code: int = 0) -> str:
        """What the program prints, started anew; fails unless it exits with the code."""
        command = [str(self.programs / program), *arguments]
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            encoding="utf-8",
            stdin=subprocess.DEVNULL,
            cwd=self.folder,
            env=environment(self.folder),
        )
        return printed(command, done.returncode, code, done.stdout, done.stderr)

    def advbench(self, *arguments: str, code: int = 0, **variables: str) -> str:
        """The same of the console script, in a fork."""
        command = [str(self.programs / "advbench"), *arguments]
        files = [self.folder / name for name in ("printed.out", "printed.err")]
        for file in files:
            file.write_bytes(b"")
        assert self.forks.stdin is not None
        assert self.forks.stdout is not None
        given = command, environment(self.folder) | variables, *map(str, files)
        self.forks.stdin.write(json.dumps(given) + "\n")
        self.forks.stdin.flush()
        ended = int(self.forks.stdout.readline())
        return printed(command, ended, code, *(file.read_text(encoding="utf-8") for file in files))


def environment(folder: Path) -> dict[str, str]:
    env = {key: value for key, value in os.environ.items() if not key.startswith(("ADVBENCH_", "PYTHON", "COV_"))}
    env |= {"HOME": str(folder), "XDG_CACHE_HOME": str(folder / "cache"), "OMP_NUM_THREADS": "1"}
    return env | {"COLUMNS": "200", "NO_COLOR": "1", "PYTHONIOENCODING": "utf-8"}


def printed(command: list[str], ended: int, due: int, out: str, err: str) -> str:
    said = f"{' '.join(command)}: {ended}\n{out}\n{err}"
    assert ended == due, said
    assert "Traceback" not in said
    return out + err


@pytest.fixture(scope="module")
def machine(wheel: Path, build: Callable[[Path], Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A fresh environment with the wheels of advbench, acme and a package that is broken; no downloads."""
    home = tmp_path_factory.mktemp("machine")
    broken = home / "broken"
    broken.mkdir()
    (broken / "pyproject.toml").write_text(BROKEN)
    (broken / "advbench_broken.py").write_text("raise RuntimeError('half installed')\n")
    acme = home / "acme"
    shutil.copytree(ACME, acme, ignore=shutil.ignore_patterns("__pycache__"))

    venv.create(home / "venv", symlinks=True)
    programs = home / "venv" / ("Scripts" if os.name == "nt" else "bin")
    pip = [sys.executable, "-m", "pip", "--python", str(programs / "python"), "--disable-pip-version-check", "install"]
    pip += ["--quiet", "--no-deps", "--no-index", "--no-compile"]
    subprocess.run([*pip, str(wheel), str(build(acme)), str(build(broken))], check=True, stdin=subprocess.DEVNULL)
    # torch and the rest are borrowed from here; .pth files in there, such as an editable advbench's, stay unread
    borrowed = dict.fromkeys(sysconfig.get_path(name) for name in ("purelib", "platlib"))
    (next((home / "venv").rglob("site-packages")) / "borrowed.pth").write_text("\n".join(borrowed))

    work = home / "work"
    shutil.copytree(acme / "tests", work / "tests")
    forks = subprocess.Popen(
        [programs / "python", "-P", "-c", FORKS],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=work,
        env=environment(work),
    )
    with forks:
        yield Machine(programs, work, forks)


@pytest.fixture(scope="module")
def database(machine: Machine) -> Path:
    """What `advbench run` leaves of acme's own suite."""
    (machine.folder / "suite.yaml").write_text(machine.advbench("acme-suite"), encoding="utf-8")
    machine.advbench("run", "suite.yaml", "--examples", "20", "--db", "acme.sqlite")
    return machine.folder / "acme.sqlite"


def rows(database: Path, query: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(database)) as connection:
        return connection.execute(query).fetchall()


def test_it_is_the_wheel_that_is_tried_and_not_the_checkout(machine: Machine) -> None:
    code = "import advbench, advbench_acme; print(advbench.__file__, advbench_acme.__file__, sep='\\n')"
    for file in machine("python", "-c", code).splitlines():
        assert Path(file).is_relative_to(machine.programs.parent), file


def test_plugins_names_who_shipped_what(machine: Machine) -> None:
    listed = machine("advbench", "plugins", code=1).splitlines()
    for name in ("acme-stripes", "acme-stripes(tries=100)", "acme-linear", "acme-rounding", "acme-corners"):
        assert any(f" {name} " in line and "advbench-acme 1.0" in line for line in listed), (name, listed)


def test_a_package_that_raises_at_import_is_set_aside_with_its_reason(machine: Machine) -> None:
    listed = machine.advbench("plugins", code=1)
    assert listed.startswith("broken: advbench-broken 2.0")
    assert "half installed" in listed
    assert "acme-stripes" in listed


def test_every_command_says_in_one_line_that_it_is_broken(machine: Machine) -> None:
    line = "advbench: advbench-broken 2.0 (entry point broken) is broken and was left out: RuntimeError: half installed"
    assert line in machine.advbench("plan", "quick")
    assert line in machine.advbench("check", "acme-corners")
    assert f"FAILED   advbench-broken-can-be-loaded: {line.removeprefix('advbench: ')}" in machine.advbench(
        "check", "advbench_broken", code=1
    )


def test_strict_makes_the_broken_package_the_end(machine: Machine) -> None:
    assert "advbench-broken" in machine.advbench("plugins", "--strict", code=2)


def test_the_allow_list_leaves_strangers_out(machine: Machine) -> None:
    listed = machine.advbench("plugins", ADVBENCH_PLUGINS="builtin")
    assert "pgd" in listed
    assert "acme" not in listed
    assert "broken" not in listed


def test_the_plan_pairs_it_with_the_built_ins_and_says_why_not(machine: Machine) -> None:
    (machine.folder / "plan.yaml").write_text(machine.advbench("acme-suite"), encoding="utf-8")
    planned = machine.advbench("plan", "plan.yaml")
    assert "acme-linear+acme-rounding" in planned
    assert "pgd needs gradients, which the target does not offer" in planned


def test_a_run_judges_its_attack_on_its_model_behind_its_defense(database: Path) -> None:
    found = rows(database, "select distinct attack, source_label, status from board_cells")
    assert ("acme-stripes", "acme-linear", "done") in found
    assert ("acme-stripes", "acme-linear+acme-rounding", "done") in found
    assert ("pgd", "acme-linear", "done") in found
    assert not [cell for cell in found if cell[2] != "done"]


def test_its_command_reads_what_a_run_has_stored_and_refuses_in_one_line(machine: Machine, database: Path) -> None:
    (board, *_) = machine.advbench("acme-lowest", "--db", str(database)).splitlines()
    assert board.startswith("acme-corners/acme-fade/0.5  acme-linear")
    refused = machine.advbench("acme-lowest", "--db", "nowhere.sqlite", code=2)
    assert refused.startswith("advbench: nowhere.sqlite")
    assert refused.count("\n") == 1


def test_the_facts_name_its_distribution_and_version(database: Path) -> None:
    query = "select distribution, version from plugins where label = 'acme-stripes'"
    assert rows(database, query) == [("advbench-acme", "1.0")]


def test_its_study_reproduces_a_table_of_another_paper(machine: Machine) -> None:
    said = machine.advbench("study", "acme-goodfellow2015", "--level", "smoke", "--db", "study.sqlite", "--jobs", "1")
    assert "2 of 2 published numbers have ours beside them" in said
    found = rows(machine.folder / "study.sqlite", "select finding, label from published where absent is null")
    assert len(found) == 2
    assert rows(machine.folder / "study.sqlite", "select id, verdict from claims")[0][0] == "goodfellow-1"


def test_check_holds_it_against_the_contract(machine: Machine) -> None:
    machine.advbench("check", "acme")


@pytest.mark.slow
def test_its_own_tests_use_the_kit_in_three_lines(machine: Machine) -> None:
    # `check acme` has tried its attack, whose checks are the most
    chosen = ("-k", "not acme-stripes")
    summary = machine("python", "-m", "pytest", "-q", "-p", "no:cacheprovider", *chosen, "tests").splitlines()[-1]
    assert " passed" in summary
    assert " deselected" in summary
    assert "failed" not in summary
