"""A stranger's package, really built and installed beside the real wheel, where there is no checkout."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

ACME = Path(__file__).parent / "acme"
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


@dataclass(frozen=True)
class Machine:
    """An environment of its own, and a folder to work in."""

    python: Path
    folder: Path

    def __call__(self, *command: str, code: int = 0) -> str:
        """What the command prints; fails unless it exits with the code."""
        env = {key: value for key, value in os.environ.items() if not key.startswith(("ADVBENCH_", "PYTHON", "COV_"))}
        env |= {"HOME": str(self.folder), "XDG_CACHE_HOME": str(self.folder / "cache")}
        env |= {"OMP_NUM_THREADS": "1", "COLUMNS": "200", "NO_COLOR": "1"}
        done = subprocess.run(
            [str(self.python), "-W", "error", "-m", *command],
            capture_output=True,
            text=True,
            encoding="utf-8",
            stdin=subprocess.DEVNULL,
            cwd=self.folder,
            env=env | {"PYTHONIOENCODING": "utf-8"},
        )
        assert done.returncode == code, f"{' '.join(command)}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout + done.stderr

    def advbench(self, *arguments: str, code: int = 0) -> str:
        return self("advbench", *arguments, code=code)


@pytest.fixture(scope="module")
def machine(wheel: Path, build: Callable[[Path], Path], tmp_path_factory: pytest.TempPathFactory) -> Machine:
    """A fresh environment with the wheels of advbench, acme and a package that is broken; no downloads."""
    home = tmp_path_factory.mktemp("machine")
    broken = home / "broken"
    broken.mkdir()
    (broken / "pyproject.toml").write_text(BROKEN)
    (broken / "advbench_broken.py").write_text("raise RuntimeError('half installed')\n")
    acme = home / "acme"
    shutil.copytree(ACME, acme, ignore=shutil.ignore_patterns("__pycache__"))

    venv.create(home / "venv", symlinks=True)
    python = home / "venv" / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    pip = [sys.executable, "-m", "pip", "--python", str(python), "--disable-pip-version-check", "install"]
    pip += ["--quiet", "--no-deps", "--no-index", "--no-compile"]
    subprocess.run([*pip, str(wheel), str(build(acme)), str(build(broken))], check=True, stdin=subprocess.DEVNULL)
    # torch and the rest are borrowed from this environment; .pth files in there, as of an editable advbench, stay unread
    borrowed = dict.fromkeys(sysconfig.get_path(name) for name in ("purelib", "platlib"))
    (next((home / "venv").rglob("site-packages")) / "borrowed.pth").write_text("\n".join(borrowed))

    work = home / "work"
    shutil.copytree(acme / "tests", work / "tests")
    return Machine(python, work)


@pytest.fixture(scope="module")
def database(machine: Machine) -> Path:
    """What `advbench run` leaves of acme's own suite."""
    (machine.folder / "suite.yaml").write_text(machine.advbench("acme-suite"), encoding="utf-8")
    machine.advbench("run", "suite.yaml", "--examples", "20", "--db", "acme.sqlite")
    return machine.folder / "acme.sqlite"


def rows(database: Path, query: str) -> list[tuple[object, ...]]:
    with sqlite3.connect(database) as connection:
        return connection.execute(query).fetchall()


def test_it_is_the_wheel_that_is_tried_and_not_the_checkout(machine: Machine) -> None:
    (machine.folder / "where.py").write_text("import advbench, advbench_acme\nprint(advbench.__file__, advbench_acme.__file__)")
    for place in machine("where").split():
        assert Path(place).is_relative_to(machine.python.parents[1])


def test_plugins_names_who_shipped_what(machine: Machine) -> None:
    listed = machine.advbench("plugins").splitlines()
    for name in ("acme-stripes", "acme-stripes(tries=100)", "acme-linear", "acme-rounding", "acme-corners"):
        assert any(f" {name} " in line and "advbench-acme 1.0" in line for line in listed), name


def test_a_package_that_raises_at_import_is_set_aside_with_its_reason(machine: Machine) -> None:
    listed = machine.advbench("plugins")
    assert "advbench-broken 2.0" in listed
    assert "half installed" in listed
    assert "Traceback" not in listed
    strict = machine.advbench("plugins", "--strict", code=2)
    assert "advbench-broken" in strict


def test_the_plan_pairs_it_with_the_built_ins_and_says_why_not(machine: Machine) -> None:
    (machine.folder / "plan.yaml").write_text(machine.advbench("acme-suite"), encoding="utf-8")
    planned = machine.advbench("plan", "plan.yaml")
    assert "acme-linear+acme-rounding" in planned
    assert "pgd needs gradients, which the target does not offer" in planned


def test_a_run_refs_its_attack_on_its_model_behind_its_defense(database: Path) -> None:
    cells = rows(database, "select attack, status from cells")
    assert ("acme-stripes", "done") in cells, cells
    assert {status for _, status in cells} <= {"done", "skipped"}


def test_the_facts_name_its_distribution_and_version(database: Path) -> None:
    assert ("advbench-acme", "1.0") in rows(database, "select distinct distribution, version from plugins")


def test_check_holds_it_against_the_contract(machine: Machine) -> None:
    machine.advbench("check", "acme")


def test_its_own_tests_use_the_kit_in_three_lines(machine: Machine) -> None:
    summary = machine("pytest", "-q", "-p", "no:cacheprovider", "tests").splitlines()[-1]
    assert " passed" in summary
    assert "failed" not in summary


def test_the_allow_list_leaves_it_out(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    restricted = machine_with(machine, ADVBENCH_PLUGINS="builtin")
    assert "acme" not in restricted


def machine_with(machine: Machine, **variables: str) -> str:
    """What `advbench plugins` prints with these environment variables."""
    env = {**os.environ, **variables, "COLUMNS": "200"}
    command = [str(machine.python), "-m", "advbench", "plugins"]
    return subprocess.run(command, env=env, cwd=machine.folder, capture_output=True, text=True, check=True).stdout
