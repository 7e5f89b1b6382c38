"""What a command costs before and beside its work: `python tests/startup_cost.py DATABASE`; POSIX only.

Processor seconds and the peak of memory, each in a process of its own; the least of five.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

from advbench.cli.loading import COMMANDS
from advbench.store import Store

ROUNDS = 5


def spent(arguments: list[str], **environment: str) -> tuple[float, int]:
    """Seconds and MB."""
    found = []
    for _ in range(ROUNDS):
        process = os.posix_spawn(
            sys.executable,
            [sys.executable, "-m", "advbench", *arguments],
            {**os.environ, **environment},
            file_actions=[(os.POSIX_SPAWN_OPEN, stream, os.devnull, os.O_RDWR, 0) for stream in (1, 2)],
        )
        _, _, used = os.wait4(process, 0)
        found.append((used.ru_utime + used.ru_stime, used.ru_maxrss // 1024))
    return min(seconds for seconds, _ in found), min(size for _, size in found)


def main() -> int:
    db = ["--db", sys.argv[1]]
    with Store.open(sys.argv[1], readonly=True) as store:
        labels = [row.label for row in store.targets()]
    with tempfile.TemporaryDirectory() as out:
        asked = [
            ["--version"],
            ["--help"],
            *([name, "--help"] for name in (*COMMANDS, "render", "serve", "speed")),
            ["show", *db],
            ["show", "--cells", *db],
            ["compare", labels[0], labels[-1], *db],
            ["render", *db, "--out", str(Path(out) / "site")],
            ["plugins"],
            ["plan"],
        ]
        for arguments in asked:
            seconds, size = spent(arguments)
            print(f"{seconds:5.2f} s {size:4} MB  {' '.join(arguments)}", flush=True)
    words = {"_ADVBENCH_COMPLETE": "complete_bash", "COMP_WORDS": "advbench s", "COMP_CWORD": "1"}
    seconds, size = spent([], **words)
    print(f"{seconds:5.2f} s {size:4} MB  completion")
    return 0


if __name__ == "__main__":
    sys.exit(main())
