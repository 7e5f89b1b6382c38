"""A local look at the site: this machine only, nothing left behind."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from advbench.errors import AdvbenchError
from advbench_leaderboard.render import render


class Quiet(SimpleHTTPRequestHandler):
    """Serves a folder without a line for every request."""

    def log_message(self, format: str, *args: object) -> None:
        return


def server(folder: Path, port: int) -> ThreadingHTTPServer:
    """Listens on this machine's own address alone."""
    try:
        return ThreadingHTTPServer(("127.0.0.1", port), partial(Quiet, directory=str(folder)))
    except OSError as error:
        raise AdvbenchError(
            f"port {port}: {error.strerror}; choose another with --port, or 0 for any free one"
        ) from error


def serve(database: Path, port: int, say: Callable[[str], None]) -> None:
    with tempfile.TemporaryDirectory(prefix="advbench-site-") as folder:
        render(database, Path(folder))
        with server(Path(folder), port) as listening:
            say(f"http://127.0.0.1:{listening.server_port}/ (Ctrl-C ends)")
            try:
                listening.serve_forever()
            except KeyboardInterrupt:
                return
