"""What every test shares: one thread, settings of its own, and distributions built from the checkout."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[1]

collect_ignore = ["acme"]  # a stranger's tests, run by test_third_party.py where its package is installed

torch.set_num_threads(1)

Build = Callable[..., Path]


@pytest.fixture(scope="session", autouse=True)
def _own_settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Nothing of the person who runs the tests decides them, but for where data sets are."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ADVBENCH_CACHE", str(tmp_path_factory.mktemp("cache")))
        for variable in ("ADVBENCH_PLUGINS", "ADVBENCH_WEIGHTS"):
            patch.delenv(variable, raising=False)
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
