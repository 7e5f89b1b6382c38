"""The fuzzers run, find nothing in their first cases, and say so by their exit code."""

from __future__ import annotations

import subprocess
import sys

import pytest
from conftest import ROOT

FUZZ = str(ROOT / "tests/fuzz")


@pytest.mark.parametrize(
    ("kinds", "count"), [("suites specs weights", 60), ("commands artifacts", 4), ("databases rows", 1)]
)
def test_each_kind_finds_nothing_in_its_first_cases(kinds: str, count: int) -> None:
    command = [sys.executable, FUZZ, "--kinds", *kinds.split(), "--count", str(count), "--seed", "1"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
    for kind in kinds.split():
        assert f"{kind}: {count} of {count} cases" in done.stdout


def test_a_finding_is_printed_with_what_repeats_it() -> None:
    code = (
        "import runpy, sys; sys.argv = ['fuzz', '--kinds', 'weights', '--count', '2']\n"
        "import advbench.weights\n"
        "from advbench.weights import weight_files\n"
        "def broken(path): raise KeyError('odd')\n"
        "weight_files.load_weights = broken\n"
        f"runpy.run_path({FUZZ!r}, run_name='__main__')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert "FOUND --kinds weights --seed 0 --case 0: KeyError: 'odd'" in done.stdout, done.stdout + done.stderr[-2000:]
    assert "weights: 2 of 2 cases" in done.stdout
    assert done.returncode == 1
