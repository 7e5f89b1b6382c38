"""Processes that tests start, forked from one that has loaded torch: each costs a tenth of a second instead of three.

They have memory, a group, a folder and an environment of their own, take signals and end with an exit code. What an
interpreter does before `advbench` is imported is not in them: installed wheels are tried by interpreters that are new.
"""

from __future__ import annotations

import importlib
import io
import multiprocessing
import os
import runpy
import signal
import sys
import tempfile
import types
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from pathlib import Path
from unittest import mock

SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(
    [
        *(
            "torch",
            "jinja2",
            "advbench.cli",
            "advbench.run.run",
            "advbench.audit.merging",
            "advbench_leaderboard.render",
        ),
        *(f"advbench_{kind}" for kind in ("attacks", "datasets", "defenses", "models", "peers")),
    ]
)


class Child:
    """As much of `subprocess.Popen[str]` as tests need."""

    def __init__(self, code: str, arguments: tuple[str, ...], folder: Path | None, environment: Mapping[str, str]):
        reader, writer = SERVER.Pipe(duplex=False)
        self.stdout = io.TextIOWrapper(os.fdopen(os.dup(reader.fileno()), "rb"), encoding="utf-8")
        self._stderr = tempfile.NamedTemporaryFile(mode="r", encoding="utf-8")  # noqa: SIM115 (until it is read)
        given = code, arguments, str(folder or Path.cwd()), dict(environment), writer, self._stderr.name
        self._process = SERVER.Process(target=_become, args=given)
        with mock.patch.dict(sys.modules, __main__=types.ModuleType("__main__")):  # pytest is not loaded in it again
            self._process.start()
        writer.close()
        reader.close()
        assert self._process.pid
        self.pid = self._process.pid

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def poll(self) -> int | None:
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """What it printed, once it has ended."""
        with ThreadPoolExecutor(1) as pool:
            out = pool.submit(self.stdout.read)
            self._process.join(timeout)
            hangs = self.poll() is None
            self.kill()
            self._process.join()
            printed = out.result()
        with self.stdout, self._stderr:
            error = self._stderr.read()
        assert not hangs, f"not done after {timeout} seconds\n{printed}\n{error}"
        return printed, error


def command(*arguments: str, folder: Path | None = None, environment: Mapping[str, str] = os.environ) -> Child:
    """`advbench ARGUMENTS`."""
    return Child("", arguments, folder, environment)


def script(code: str) -> Child:
    return Child(code, (), None, os.environ)


def _become(
    code: str, arguments: tuple[str, ...], folder: str, environment: dict[str, str], stdout: Connection, stderr: str
) -> None:
    os.setsid()
    os.dup2(stdout.fileno(), 1)
    stdout.close()
    os.dup2(os.open(stderr, os.O_WRONLY | os.O_APPEND), 2)
    sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", encoding="utf-8", closefd=False, buffering=1)  # noqa: SIM115
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.path[:0] = [path for path in environment.get("PYTHONPATH", "").split(os.pathsep) if path not in ("", *sys.path)]
    importlib.invalidate_caches()
    if code:
        exec(compile(code, "<script>", "exec"), {"__name__": "__main__"})
    else:
        sys.argv = ["advbench", *arguments]
        runpy.run_module("advbench", run_name="__main__", alter_sys=True)
