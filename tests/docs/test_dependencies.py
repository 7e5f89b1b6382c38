"""Dependencies point at the core: it imports no plugin and no leaderboard, and reading results needs no torch."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
BUILT_INS = {
    "advbench_attacks",
    "advbench_datasets",
    "advbench_defenses",
    "advbench_leaderboard",
    "advbench_models",
    "advbench_studies",
}
IMPORT_ALL = """
import importlib, pkgutil, sys
package = importlib.import_module(sys.argv[1])
for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
    if not module.name.endswith(("__main__", "engines.preload")):  # the latter loads plugins: it is what it is for
        importlib.import_module(module.name)
print(*{name.partition(".")[0] for name in sys.modules})
"""


def named(package: Path) -> Iterator[tuple[str, str]]:
    """File and top-level name of every import that the package's sources write down, wherever it stands."""
    for path in package.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                yield from ((path.name, alias.name.partition(".")[0]) for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
                yield path.name, node.module.partition(".")[0]


def loaded_by(package: str) -> set[str]:
    """Everything that is in memory once all modules of the package are imported, in a process of its own."""
    # older versions of Typer import what the newest Click warns about
    command = [sys.executable, "-W", "error", "-W", "ignore::DeprecationWarning:typer", "-c", IMPORT_ALL, package]
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


def test_the_core_names_no_plugin() -> None:
    assert [(file, name) for file, name in named(ROOT / "benchmark/advbench") if name in BUILT_INS] == []


def test_the_core_works_without_any_plugin_in_memory() -> None:
    assert loaded_by("advbench") & BUILT_INS == set()


def test_the_leaderboard_names_no_torch() -> None:
    heavy = {"torch", "torchvision"}
    assert [(file, name) for file, name in named(ROOT / "leaderboard/advbench_leaderboard") if name in heavy] == []


def test_a_strangers_command_reads_results_without_loading_torch() -> None:
    code = "import sys; from advbench import AdvbenchError, Store; print('torch' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "False\n"


def test_pages_are_written_without_loading_torch() -> None:
    assert "torch" not in loaded_by("advbench_leaderboard")
