"""Who imports whom, room by room: `python tests/rooms.py` draws it into docs/architecture.md.

A room is a folder of `advbench`, its root, or another package of the repository. The root's `__init__` and `__main__`
are the doors to all rooms, and no room themselves.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGES = {
    "advbench": ROOT / "benchmark/advbench",
    "advbench_leaderboard": ROOT / "leaderboard/advbench_leaderboard",
    **{
        f"advbench_{kind}": ROOT / f"plugins/{kind}/advbench_{kind}"
        for kind in sorted(("attacks", "datasets", "defenses", "foreign", "models", "peers", "studies"))
    },
}
DOCUMENT = ROOT / "docs/architecture.md"
BEGIN, END = "<!-- rooms: written by tests/rooms.py -->\n", "<!-- /rooms -->\n"
DOORS = ("advbench", "advbench.__main__")


@dataclass(frozen=True)
class Module:
    name: str
    path: Path

    @property
    def room(self) -> str:
        """`store` of `advbench.store.views`, `root` of `advbench.draws`, the package itself elsewhere."""
        package, *inner = self.name.split(".")
        if package != "advbench":
            return package
        return inner[0] if inner and (PACKAGES["advbench"] / inner[0]).is_dir() else "root"

    @property
    def lines(self) -> int:
        return len(self.path.read_text(encoding="utf-8").splitlines())

    def imports(self, known: Mapping[str, Module]) -> Iterator[str]:
        """Modules that it loads at any time; those for the type checker alone are never loaded."""
        tree = ast.parse(self.path.read_text(encoding="utf-8"))
        unloaded = {
            id(inner)
            for node in ast.walk(tree)
            if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
            for inner in ast.walk(node)
        }
        for node in ast.walk(tree):
            if id(node) in unloaded:
                continue
            if isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names if alias.name in known)
            elif isinstance(node, ast.ImportFrom) and node.module in known:
                for alias in node.names:
                    inner = f"{node.module}.{alias.name}"
                    yield inner if inner in known else node.module


def modules() -> dict[str, Module]:
    found = {}
    for package, folder in PACKAGES.items():
        for path in sorted(folder.rglob("*.py")):
            parts = [package, *path.relative_to(folder).with_suffix("").parts]
            name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            found[name] = Module(name, path)
    return found


@cache
def arrows() -> dict[str, set[str]]:
    """By room, the rooms that it imports from. What is asked of the front door counts as the root's."""
    known = modules()
    found: dict[str, set[str]] = {module.room: set() for module in known.values()}
    for module in known.values():
        if module.name not in DOORS:
            found[module.room] |= {known[name].room for name in module.imports(known)} - {module.room}
    return found


def floors(found: Mapping[str, set[str]]) -> list[list[str]]:
    """Rooms from the ground up, each above all that it imports from; rooms of a circle are left out."""
    left, stack = dict(found), []
    while level := sorted(room for room, below in left.items() if not below & left.keys()):
        stack.append(level)
        for room in level:
            del left[room]
    return stack


def sentence(room: str) -> str:
    """What the room is for, as its own first line says."""
    if room == "root":
        return "The words a plugin is written in."
    folder = PACKAGES[room] if room in PACKAGES else PACKAGES["advbench"] / room
    words = ast.get_docstring(ast.parse((folder / "__init__.py").read_text(encoding="utf-8"))) or ""
    return words.split("\n\n")[0].replace("\n", " ")


def drawing() -> str:
    found = arrows()
    stack = floors(found)
    lines = ["| floor | room | what it is for | imports from |", "| ---: | --- | --- | --- |"]
    for number, level in reversed(list(enumerate(stack))):
        for room in level:
            below = ", ".join(f"`{one}`" for one in sorted(found[room] - {"root"})) or "–"
            lines.append(f"| {number} | `{room}` | {sentence(room)} | {below} |")
    return "\n".join(lines) + "\n"


def main() -> int:
    text = DOCUMENT.read_text(encoding="utf-8")
    before, rest = text.split(BEGIN)
    DOCUMENT.write_text(before + BEGIN + drawing() + END + rest.split(END)[1], encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
