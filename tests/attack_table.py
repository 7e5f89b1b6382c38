"""Which attack serves what: `python tests/attack_table.py` writes what they declare into docs/attacks/README.md."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

from advbench.plugins.discovery import discover
from advbench.plugins.serves import markdown

DOCUMENT = Path(__file__).parents[1] / "docs/attacks/README.md"
BEGIN, END = "<!-- attacks: written by tests/attack_table.py -->\n", "<!-- /attacks -->\n"


def table() -> str:
    """Of the built-in attacks in the core's balls; what else is installed here is nobody else's."""
    registry = discover()
    attacks = {label: one for label, one in registry.attacks.items() if registry.origin(one).built_in}
    threats = {label: ball for label, ball in registry.threats.items() if registry.origin(ball).built_in}
    return markdown(dataclasses.replace(registry, attacks=attacks, threats=threats))


def main() -> int:
    text = DOCUMENT.read_text(encoding="utf-8")
    before, rest = text.split(BEGIN)
    DOCUMENT.write_text(before + BEGIN + table() + END + rest.split(END)[1], encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
