"""What a user installs is what the repository holds."""

from __future__ import annotations

import configparser
import os
import re
import sqlite3
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow  # builds distributions

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
PLUGINS = sorted(p for p in (ROOT / "plugins").iterdir() if p.is_dir() and not (p / "pyproject.toml").exists())
SOURCES = [ROOT / "benchmark", *PLUGINS, ROOT / "leaderboard"]
PACKAGES = {
    "advbench",
    "advbench_attacks",
    "advbench_datasets",
    "advbench_defenses",
    "advbench_foreign",
    "advbench_leaderboard",
    "advbench_models",
    "advbench_peers",
    "advbench_studies",
}
MEBIBYTE = 2**20


def shipped(wheel: Path) -> set[str]:
    """The wheel's files, its metadata left out."""
    with zipfile.ZipFile(wheel) as archive:
        return {name for name in archive.namelist() if ".dist-info/" not in name}


def as_imported(path: Path) -> str:
    """`plugins/models/advbench_models/x.py` as the wheel names it: `advbench_models/x.py`."""
    return next(path.relative_to(source).as_posix() for source in SOURCES if path.is_relative_to(source))


def on_disk() -> set[str]:
    files = (path for source in SOURCES for path in source.rglob("*") if path.is_file())
    return {as_imported(path) for path in files if "__pycache__" not in path.parts}


def tracked() -> set[str]:
    """The files that git tracks and that are still there."""
    git = ["git", "-c", "safe.directory=*", "-C", str(ROOT), "ls-files", "-z", "--", *map(str, SOURCES)]
    try:
        listed = subprocess.run(git, capture_output=True, text=True, check=True, stdin=subprocess.DEVNULL).stdout
    except (OSError, subprocess.CalledProcessError):
        listed = ""
    if not listed:
        pytest.skip("not a git checkout: the wheel is held against the files on disk only")
    paths = (ROOT / name for name in listed.split("\0") if name)
    return {as_imported(path) for path in paths if path.exists()}


def test_no_file_is_lost_or_smuggled_in_between_the_folders_and_the_wheel(wheel: Path) -> None:
    files, found = shipped(wheel), on_disk()
    assert not found - files, "the wheel lacks these: a pattern in .gitignore, or `packages` in pyproject.toml"
    assert not files - found, "the wheel has what no folder has"


def test_the_wheel_holds_what_git_tracks_and_nothing_else(wheel: Path) -> None:
    files, known = shipped(wheel), tracked()
    assert not known - files, "tracked, but not in the wheel"
    assert not files - known, "in the wheel, but not tracked: add these to git, or remove them"


def test_the_version_is_written_in_one_place_and_has_its_changes() -> None:
    version, changes = PROJECT["version"], (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    files = [path for source in SOURCES for path in source.rglob("*.py")] + [ROOT / "CITATION.cff", ROOT / "README.md"]
    assert [path.name for path in files if version in path.read_text(encoding="utf-8")] == []
    assert f"\n## {version}" in changes or "\n## Next version\n" in changes


def test_every_package_is_there_and_typed(wheel: Path) -> None:
    files = shipped(wheel)
    assert {name.partition("/")[0] for name in files} == PACKAGES
    assert {package for package in PACKAGES if f"{package}/py.typed" in files} == PACKAGES


def test_no_test_cache_or_database_is_shipped(wheel: Path) -> None:
    unwanted = (".pyc", ".sqlite", ".orig", ".ipynb")
    assert not {f for f in shipped(wheel) if f.endswith(unwanted) or {"tests", "__pycache__"} & set(f.split("/"))}


def test_the_built_ins_are_found_by_the_entry_points_of_the_wheel(wheel: Path) -> None:
    points = configparser.ConfigParser(delimiters=("=",))
    points.read_string(metadata(wheel, "entry_points.txt"))
    assert dict(points["console_scripts"]) == {"advbench": "advbench.__main__:main"}
    named = [*points["advbench"].values(), *points["advbench.commands"].values()]
    assert {re.split("[.:]", value)[0] for value in named} == PACKAGES - {"advbench"}


def test_name_version_and_licence_are_stated(wheel: Path) -> None:
    text = metadata(wheel, "METADATA")
    fields = text.partition("\n\n")[0].splitlines()
    assert f"Version: {PROJECT['version']}" in fields
    assert "License-Expression: MIT AND CC-BY-SA-3.0" in fields
    assert metadata(wheel, "licenses/LICENSE").startswith("MIT License")
    assert "by-sa/3.0" in metadata(wheel, "licenses/plugins/datasets/advbench_datasets/mnist_5k.NOTICE")


def test_shipped_weights_stay_a_small_download(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        weights = [file.file_size for file in archive.infolist() if "/weights/" in file.filename]
    assert sum(weights) <= 6 * MEBIBYTE


def test_the_digits_that_the_quick_suite_judges_are_a_small_download_and_say_whose_they_are(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        assert archive.getinfo("advbench_datasets/mnist_5k.npz").file_size <= 1_500_000
        assert b"LeCun" in archive.read("advbench_datasets/mnist_5k.NOTICE")


def test_the_source_archive_builds_the_same_wheel(wheel: Path, build: Callable[..., Path], tmp_path: Path) -> None:
    with tarfile.open(build(ROOT, "--sdist")) as archive:
        archive.extraction_filter = getattr(tarfile, "data_filter", None)  # asked for from 3.12 on, unknown to 3.11.2
        archive.extractall(tmp_path)
    (folder,) = tmp_path.iterdir()
    assert shipped(build(folder)) == shipped(wheel)


def test_what_is_installed_runs_without_a_checkout_in_an_empty_folder_without_any_data_at_hand(
    wheel: Path, tmp_path: Path
) -> None:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "installed")
    folder = tmp_path / "empty"
    folder.mkdir()
    env = {key: value for key, value in os.environ.items() if not key.startswith("ADVBENCH_")}
    env |= {"PYTHONPATH": str(tmp_path / "installed"), "ADVBENCH_CACHE": str(tmp_path / "cache")}
    # where it was imported from is said beside what the command prints
    code = "import sys, runpy, advbench.plugin; print(advbench.__file__, file=sys.stderr)\n"
    code += "runpy.run_module('advbench', run_name='__main__', alter_sys=True)"
    command = [sys.executable, "-c", code, "run", "--attack", "fgsm", "--threat", "linf(eps=0.1)", "--offline"]
    done = subprocess.run([*command, "--examples", "4"], capture_output=True, text=True, env=env, cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    assert Path(done.stderr.splitlines()[0]).is_relative_to(tmp_path), done.stderr
    assert "mnist-5k/linf/0.1 · 4 examples" in done.stdout
    assert not (folder / "data").exists()
    with closing(sqlite3.connect(folder / "results.sqlite")) as raw:
        ((source,),) = raw.execute("SELECT source FROM datasets")
    assert Path(source).is_relative_to(tmp_path / "installed")


def metadata(wheel: Path, name: str) -> str:
    with zipfile.ZipFile(wheel) as archive:
        file = next(file for file in archive.namelist() if file.endswith(f".dist-info/{name}"))
        return archive.read(file).decode()
