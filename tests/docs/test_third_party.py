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
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

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


@dataclass(frozen=True)
class Machine:
    """An environment of its own, and a folder to work in."""

    programs: Path
    folder: Path

    def __call__(self, program: str, *arguments: str, code: int = 0, **variables: str) -> str:
        """What the program prints; fails unless it exits with the code."""
        env = {key: value for key, value in os.environ.items() if not key.startswith(("ADVBENCH_", "PYTHON", "COV_"))}
        env |= {"HOME": str(self.folder), "XDG_CACHE_HOME": str(self.folder / "cache"), "OMP_NUM_THREADS": "1"}
        env |= {"COLUMNS": "200", "NO_COLOR": "1", "PYTHONIOENCODING": "utf-8"}
        done = subprocess.run(
            [str(self.programs / program), *arguments],
            capture_output=True,
            text=True,
            encoding="utf-8",
            stdin=subprocess.DEVNULL,
            cwd=self.folder,
            env=env | variables,
        )
        said = f"{program} {' '.join(arguments)}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        assert done.returncode == code, said
        assert "Traceback" not in said
        return done.stdout + done.stderr

    def advbench(self, *arguments: str, code: int = 0, **variables: str) -> str:
        return self("advbench", *arguments, code=code, **variables)


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
    programs = home / "venv" / ("Scripts" if os.name == "nt" else "bin")
    pip = [sys.executable, "-m", "pip", "--python", str(programs / "python"), "--disable-pip-version-check", "install"]
    pip += ["--quiet", "--no-deps", "--no-index", "--no-compile"]
    subprocess.run([*pip, str(wheel), str(build(acme)), str(build(broken))], check=True, stdin=subprocess.DEVNULL)
    # torch and the rest are borrowed from here; .pth files in there, such as an editable advbench's, stay unread
    borrowed = dict.fromkeys(sysconfig.get_path(name) for name in ("purelib", "platlib"))
    (next((home / "venv").rglob("site-packages")) / "borrowed.pth").write_text("\n".join(borrowed))

    work = home / "work"
    shutil.copytree(acme / "tests", work / "tests")
    return Machine(programs, work)


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
    listed = machine.advbench("plugins", code=1).splitlines()
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


def test_the_facts_name_its_distribution_and_version(database: Path) -> None:
    query = "select distribution, version from plugins where label = 'acme-stripes'"
    assert rows(database, query) == [("advbench-acme", "1.0")]


def test_check_holds_it_against_the_contract(machine: Machine) -> None:
    machine.advbench("check", "acme")


def test_its_own_tests_use_the_kit_in_three_lines(machine: Machine) -> None:
    summary = machine("python", "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests").splitlines()[-1]
    assert " passed" in summary
    assert "failed" not in summary
