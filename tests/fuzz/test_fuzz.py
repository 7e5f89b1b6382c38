"""The fuzzers run, find nothing in their first cases, and say so by their exit code."""

from __future__ import annotations

import pytest
from conftest import ROOT
from processes import script

pytestmark = pytest.mark.slow  # starts the fuzzers

FOLDER = str(ROOT / "tests/fuzz")
FUZZ = f"import runpy, sys; sys.argv = ['fuzz', *{{}}]; runpy.run_path({FOLDER!r}, run_name='__main__')"


@pytest.mark.parametrize(
    ("kinds", "count"),
    [
        ("suites specs weights", 20),
        pytest.param("commands artifacts", 4, marks=pytest.mark.slow),
        pytest.param("databases rows", 1, marks=pytest.mark.slow),
    ],
)
def test_each_kind_finds_nothing_in_its_first_cases(kinds: str, count: int) -> None:
    process = script(FUZZ.format(["--kinds", *kinds.split(), "--count", str(count), "--seed", "1"]))
    out, err = process.communicate(timeout=500)
    assert process.returncode == 0, out + err[-2000:]
    for kind in kinds.split():
        assert f"{kind}: {count} of {count} cases" in out


def test_a_finding_is_printed_with_what_repeats_it() -> None:
    code = (
        "import advbench.weights\n"
        "from advbench.weights import weight_files\n"
        "def broken(path): raise KeyError('odd')\n"
        "weight_files.load_weights = broken\n"
    )
    process = script(code + FUZZ.format(["--kinds", "weights", "--count", "2"]))
    out, err = process.communicate(timeout=300)
    assert "FOUND --kinds weights --seed 0 --case 0: KeyError: 'odd'" in out, out + err[-2000:]
    assert "weights: 2 of 2 cases" in out
    assert process.returncode == 1
