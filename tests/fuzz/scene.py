"""What every kind needs: tiny plugins, a database of theirs, the command line in this process, and a clock."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import signal
import sqlite3
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from types import FrameType, TracebackType
from typing import Any, Self

import conftest
import torch

SUITE = conftest.TOYS
BESIDE = """\
name: beside
data: toy-blots
examples: 6
drawn: 1
models: [toy]
defenses: ["randomized-smoothing(samples=5, proof=60)", gaussian-noise(sigma=0.05)]
attacks: [noise, pgd(steps=3), ddn(steps=2)]
threats: [l2(eps=1), rotate-shift]
"""
"""What brings rows of the other tables: certificates, doubts about targets, pairs that don't meet, a draw."""
ODD = (
    *("", " ", "0", "-1", "1e308", "-1e308", "1e-320", "nan", "inf", "-inf", "1/0", "8/255", "9" * 30, "0x10", "1_0"),
    *(
        "~",
        "null",
        "true",
        "[]",
        "{}",
        "[[",
        "}}",
        "()",
        ")(",
        ",",
        ":",
        "=",
        "+",
        "'",
        '"',
        "\\",
        "#",
        "&a",
        "*a",
        "|",
    ),
    *(
        "!!python/object:os.system",
        "../" * 40 + "etc/passwd",
        "/dev/full",
        "%s%n",
        "\0",
        "\x1b[31m",
        "\u202e",
        "\ud800",
    ),
    *("é", "→", "𝒜", "a" * 5000, "(" * 3000, "[" * 3000, "pgd", "toy", "linf", "l2", "eps", "none", "class=3", "each"),
)
"""Words that somebody forgot to think of."""


class HangError(BaseException):
    """A case took longer than it may; no `except Exception` on the way stops it."""


@dataclass
class Watched:
    """A case under a clock. What escapes from it is what was found."""

    seconds: float
    told: str = ""

    def __enter__(self) -> Self:
        signal.signal(signal.SIGALRM, self._ring)
        signal.setitimer(signal.ITIMER_REAL, self.seconds)
        return self

    def _ring(self, number: int, frame: FrameType | None) -> None:
        raise HangError(f"still busy after {self.seconds:g} s")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        signal.setitimer(signal.ITIMER_REAL, 0)
        if error is None or isinstance(error, KeyboardInterrupt):
            return False
        places = [f"{Path(f.filename).name}:{f.lineno}" for f in traceback.extract_tb(trace)[-4:]]
        self.told = f"{type(error).__name__}: {' '.join(str(error).split())[:300]} ({' '.join(places)})"
        return True


@dataclass(frozen=True)
class Kind:
    """A way to do harm. `case` answers with what went wrong, or with nothing."""

    count: int
    case: Callable[[Scene, Random, int], str]
    seconds: float = 20.0
    most: int | None = None
    """Where there are no more cases than these."""


@dataclass(frozen=True)
class Ended:
    """What a command printed, and how it ended; `code` is None where something escaped."""

    code: int | None
    out: str
    err: str

    @property
    def improper(self) -> str:
        """What a person should never meet; empty where the command ended as commands do."""
        if self.code not in (0, 1, 2):
            return f"exit code {self.code}: {self.err[-300:]}"
        if "Traceback" in self.out + self.err:
            return f"a traceback: {(self.out + self.err)[-300:]}"
        if self.code == 2 and not (self.err + self.out).strip():
            return "exit code 2 without a word"
        if any(ord(c) < 32 and c not in "\n\r\t" for c in self.out + self.err):
            return f"control characters: {(self.out + self.err)[-300:]!r}"
        return ""


@dataclass(frozen=True)
class Scene:
    folder: Path
    suite: Path
    db: Path
    """Of a whole run of the suite; copies of it are damaged."""
    registry: Any

    @classmethod
    def made(cls, folder: Path) -> Scene:
        torch.set_num_threads(1)
        torch.use_deterministic_algorithms(False)
        os.environ.update(ADVBENCH_CACHE=str(folder / "cache"), OMP_NUM_THREADS="1")
        os.environ.pop("ADVBENCH_DATA", None)
        metadata = folder / "advbench_toys-1.0.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: advbench-toys\nVersion: 1.0\n")
        (metadata / "entry_points.txt").write_text("[advbench]\ntoys = advbench_toys\n")
        sys.path[:0] = [str(Path(conftest.ROOT) / "tests/toys"), str(folder)]
        import study_facts

        from advbench import cli
        from advbench.plugins import discovery
        from advbench.store import Store

        registry = discovery.discover()
        cli.discover = lambda: registry  # the same for every command: reading plugins takes longer than most cases
        (folder / "toys.yaml").write_text(SUITE)
        scene = cls(folder, folder / "toys.yaml", folder / "toys.sqlite", registry)
        beside, other = folder / "beside.yaml", folder / "other.sqlite"
        beside.write_text(BESIDE)
        for arguments in (
            ("run", scene.suite, "--db", scene.db),
            ("run", beside, "--db", other),
            ("merge", scene.db, other, "--reproduce", "none"),
            ("verify", "--db", scene.db),
        ):
            ended = scene.advbench(*arguments)
            if ended.code:
                raise SystemExit(f"the scene can't be made: {' '.join(map(str, arguments))}: {ended.out}{ended.err}")
        with Store.open(scene.db) as store:
            study_facts.fill(store)
        with sqlite3.connect(scene.db) as connection:
            tables = [row[0] for row in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
            empty = [name for name in tables if not connection.execute(f"SELECT count(*) FROM {name}").fetchone()[0]]
        connection.close()
        if empty:
            raise SystemExit(f"no case will ever meet a row of {', '.join(empty)}")
        return scene

    def advbench(self, *arguments: object) -> Ended:
        from advbench.cli import main

        out, err = io.StringIO(), io.StringIO()
        before, sys.argv = sys.argv, ["advbench", *map(str, arguments)]
        code: int | None = 0
        try:
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                main()
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else 0 if ended.code is None else None
        except HangError:
            raise
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                raise
            places = [f"{Path(f.filename).name}:{f.lineno}" for f in traceback.extract_tb(error.__traceback__)[-4:]]
            return Ended(None, out.getvalue(), f"{type(error).__name__}: {str(error)[:200]} ({' '.join(places)})")
        finally:
            sys.argv = before
        return Ended(code, out.getvalue(), err.getvalue())

    def place(self, name: str) -> Path:
        """An empty folder for a case."""
        found = self.folder / "case" / name
        shutil.rmtree(found, ignore_errors=True)
        found.mkdir(parents=True)
        return found

    def copy(self, name: str) -> Path:
        """The database with its perturbations, to be damaged."""
        copied = self.place(name) / "copy.sqlite"
        shutil.copyfile(self.db, copied)
        shutil.copytree(self.db.with_suffix(".artifacts"), copied.with_suffix(".artifacts"))
        return copied


def bent(draw: Random, data: bytes) -> bytes:
    """The same bytes, with a few of them other, gone, doubled or swapped."""
    found = bytearray(data)
    for _ in range(draw.choice((1, 1, 2, 5, 20))):
        if not found:
            break
        place, length = draw.randrange(len(found)), draw.choice((1, 1, 2, 8, 100))
        piece = found[place : place + length]
        found[place : place + length] = draw.choice(
            (
                draw.randbytes(len(piece)),
                bytes([piece[0] ^ (1 << draw.randrange(8))]) + bytes(piece[1:]),
                b"",
                bytes(piece) * 2,
                bytes(len(piece)),
                b"\xff" * len(piece),
            )
        )
    return bytes(found[: draw.randrange(len(found) + 1)] if found and draw.random() < 0.1 else found)


def reworded(draw: Random, text: str, pieces: list[str]) -> str:
    """The same text, with a few of its pieces other, gone, doubled or in another place."""
    found = list(pieces) if pieces else [text]
    for _ in range(draw.choice((1, 1, 2, 3, 8))):
        place = draw.randrange(len(found)) if found else 0
        way = draw.randrange(6)
        if way == 0 and found:
            found[place] = draw.choice(ODD)
        elif way == 1 and found:
            del found[place]
        elif way == 2 and found:
            found.insert(place, found[draw.randrange(len(found))])
        elif way == 3:
            found.insert(place, draw.choice(ODD))
        elif way == 4 and found:
            other = draw.randrange(len(found))
            found[place], found[other] = found[other], found[place]
        elif found:
            found[place] = bent(draw, found[place].encode("utf-8", "surrogatepass")).decode("latin-1")
    return "".join(found)
