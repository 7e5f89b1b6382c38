"""The oldest versions that pyproject.toml admits, as constraints for pip: `python tests/oldest.py > oldest.txt`."""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]


def oldest(project: dict[str, object], extras: tuple[str, ...] = ("test",)) -> list[str]:
    named = list(project["dependencies"])  # type: ignore[call-overload]
    for extra in extras:
        named += project["optional-dependencies"][extra]  # type: ignore[index]
    found = []
    for one in named:
        match = re.fullmatch(r"([\w.-]+)\s*>=\s*([\w.]+)", one)
        if match is None:
            raise SystemExit(f"pyproject.toml: {one!r} names no oldest version")
        found.append(f"{match[1]}=={match[2]}")
    return list(dict.fromkeys(found))


if __name__ == "__main__":
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    sys.stdout.write("\n".join(oldest(project)) + "\n")
