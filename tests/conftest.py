"""What every test shares: one thread, settings of its own, and distributions built from the checkout."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

ROOT = Path(__file__).parents[1]

collect_ignore = ["acme", "toys"]  # a stranger's tests, run by test_third_party.py where its package is installed

torch.set_num_threads(1)

Build = Callable[..., Path]


@pytest.fixture(scope="session", autouse=True)
def _own_settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Nothing of the person who runs the tests decides them, but for where data sets are."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ADVBENCH_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("OMP_NUM_THREADS", "1")  # of processes that tests start: others run beside them
        patch.setenv("ADVBENCH_JOBS", "1")  # tests say by themselves where several processes are to be tried
        for variable in ("ADVBENCH_PLUGINS", "ADVBENCH_WEIGHTS", "COLUMNS"):
            patch.delenv(variable, raising=False)
        patch.setattr(os, "fsync", lambda file: None)  # no power fails while tests run: nobody waits for disks
        yield


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder with the data sets and reference weights that are too large for the repository."""
    for place in os.environ.get("ADVBENCH_DATA", "").split(os.pathsep):
        if place and (Path(place) / "mnist/mnist.npz").is_file():
            return Path(place)
    pytest.skip("set ADVBENCH_DATA to run")


@pytest.fixture(scope="session")
def build(tmp_path_factory: pytest.TempPathFactory) -> Build:
    """Build a distribution from its folder: `build(folder)` a wheel, `build(folder, "--sdist")` a source archive."""

    def built(source: Path, kind: str = "--wheel") -> Path:
        out = tmp_path_factory.mktemp("dist")
        command = [sys.executable, "-m", "build", kind, "--no-isolation", "--outdir", str(out), str(source)]
        done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
        assert done.returncode == 0, done.stdout + done.stderr
        (file,) = out.iterdir()
        return file

    return built


@pytest.fixture(scope="session")
def wheel(build: Build) -> Path:
    """The wheel of this checkout."""
    return build(ROOT)


LEFT_OUT = pytest.StashKey[int]()
"""How many slow tests are left out, in the process that knows."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--all", action="store_true", help="run the slow tests, too")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Slow tests are left out, unless all are asked for, or some of them by their name; exhaustive ones even then."""
    if any("::" in argument for argument in config.args):
        return
    if not os.environ.get("ADVBENCH_EXHAUSTIVE") and "exhaustive" not in config.option.markexpr:
        exhaustive = [item for item in items if item.get_closest_marker("exhaustive")]
        items[:] = [item for item in items if not item.get_closest_marker("exhaustive")]
        config.hook.pytest_deselected(items=exhaustive)
    if config.option.all or "slow" in config.option.markexpr:
        return
    slow = [item for item in items if item.get_closest_marker("slow")]
    items[:] = [item for item in items if not item.get_closest_marker("slow")]
    config.hook.pytest_deselected(items=slow)
    config.stash[LEFT_OUT] = len(slow)


def pytest_sessionfinish(session: pytest.Session) -> None:
    if output := getattr(session.config, "workeroutput", None):  # to the process that prints: workers collect alike
        output["left_out"] = session.config.stash.get(LEFT_OUT, 0)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    node.config.stash[LEFT_OUT] = getattr(node, "workeroutput", {}).get("left_out", 0)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if left := terminalreporter.config.stash.get(LEFT_OUT, 0):
        terminalreporter.write_line(f"{left:,} slow tests left out, which .ci/run runs: make test ARGS=--all")


def pytest_configure() -> None:
    """A shell that starts something behind itself has it ignore Ctrl-C, and so would all that tests start."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@dataclass(frozen=True)
class Printed:
    """What a command printed, and how it ended."""

    code: int
    out: str
    err: str

    @property
    def complaint(self) -> str:
        """The one line with which advbench refuses something."""
        assert self.code == 2, f"exit code {self.code}\n{self.out}\n{self.err}"
        assert "Traceback" not in self.out + self.err
        assert "\x1b" not in self.out + self.err
        assert self.err.startswith("advbench: ")
        assert self.err.endswith("\n")
        assert self.err.count("\n") == 1, self.err
        return self.err.removeprefix("advbench: ").rstrip("\n")


Advbench = Callable[..., Printed]


@pytest.fixture(scope="session")
def toys(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, ...]]:
    """Tiny plugins, as if a distribution of them were installed; the folders that have to be on the path."""
    metadata = tmp_path_factory.mktemp("toys") / "advbench_toys-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: advbench-toys\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[advbench]\ntoys = advbench_toys\n")
    with pytest.MonkeyPatch.context() as patch:
        folders = (str(ROOT / "tests/toys"), str(metadata.parent))
        for folder in folders:
            patch.syspath_prepend(folder)
        yield folders
    sys.modules.pop("advbench_toys", None)


@pytest.fixture(scope="session")
def advbench(toys: tuple[str, ...]) -> Advbench:
    """The console script in this process: `advbench("show", "--db", path)`."""
    from advbench.cli import main

    def called(*arguments: object, **environment: str) -> Printed:
        out, err = io.StringIO(), io.StringIO()
        code: object = 0
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "argv", ["advbench", *map(str, arguments)])
            for name, value in environment.items():
                patch.setenv(name, value)
            for folder in toys:  # a narrower fixture that was there first puts the path back as it had found it
                if folder not in sys.path:
                    patch.syspath_prepend(folder)
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                try:
                    main()
                except SystemExit as ended:
                    code = ended.code
        return Printed(int(str(code or 0)), out.getvalue(), err.getvalue())

    return called


TOYS = """\
name: toys
data: toy-blots
examples: 20
shard: 8
models: [toy, toy(seed=1)]
defenses: [none, toy-doubting]
attacks: [noise, pgd(steps=3)]
threats:
  - linf(eps=0.2)
  - l2: {eps: 1, examples: 10, goals: [untargeted, random]}
"""


@dataclass(frozen=True)
class Results:
    """A suite of toys, and the database of a run of it. Tests read it; who wants to write takes a copy."""

    suite: Path
    db: Path
    run: Printed

    def copy(self, folder: Path) -> Path:
        copied = shutil.copy(self.db, folder / "copy.sqlite")
        shutil.copytree(self.db.with_suffix(".artifacts"), folder / "copy.artifacts")
        return Path(copied)


FEW = """\
name: few
data: toy-blots
examples: 20
shard: 8
models: toy
attacks: [pgd(steps=3), noise]
threats: linf(eps=0.2)
"""


@pytest.fixture(scope="session")
def results(advbench: Advbench, tmp_path_factory: pytest.TempPathFactory) -> Results:
    """24 cells: two models, two defenses, two attacks, two balls, two goals."""
    return _results(advbench, tmp_path_factory.mktemp("results") / "toys.sqlite", TOYS)


@pytest.fixture(scope="session")
def few(advbench: Advbench, tmp_path_factory: pytest.TempPathFactory) -> Results:
    """Two cells, for who looks at one of them and at the rest."""
    return _results(advbench, tmp_path_factory.mktemp("few") / "few.sqlite", FEW)


def _results(advbench: Advbench, db: Path, text: str) -> Results:
    suite = db.with_suffix(".yaml")
    suite.write_text(text)
    done = advbench("run", suite, "--db", db)
    assert done.code == 0, done.out + done.err
    return Results(suite, db, done)
