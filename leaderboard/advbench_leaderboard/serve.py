"""A local look at the site: this machine only, nothing left behind."""

from __future__ import annotations

import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from advbench.errors import AdvbenchError
from advbench_leaderboard.render import render

ADDRESS = "127.0.0.1"
NAMES = (ADDRESS, "localhost", "[::1]")
"""What a browser may call this machine. A stranger's page can give its own name this address (DNS rebinding), and would
then read what is served here as if it were its own."""


class Quiet(SimpleHTTPRequestHandler):
    """Serves a folder without a line for every request, to those who asked for this machine by its name."""

    server: ThreadingHTTPServer

    def log_message(self, format: str, *args: object) -> None:
        return

    def parse_request(self) -> bool:
        if not super().parse_request():
            return False
        asked = self.headers.get_all("Host") or []
        port = self.server.server_port
        known = {name for host in NAMES for name in ((host, f"{host}:{port}") if port == 80 else (f"{host}:{port}",))}
        if len(asked) == 1 and asked[0].strip().lower() in known:
            return True
        self.send_error(HTTPStatus.MISDIRECTED_REQUEST, f"ask for http://{ADDRESS}:{port}/")
        return False

    def send_head(self) -> Any:
        try:
            return super().send_head()
        except (OSError, ValueError):  # a path that no file can have, such as /%00
            self.send_error(HTTPStatus.NOT_FOUND)
            return None


class Listening(ThreadingHTTPServer):
    """Ends with its process, and says nothing of readers who went away."""

    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        if not isinstance(sys.exception(), ConnectionError | TimeoutError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]


def server(folder: Path, port: int) -> ThreadingHTTPServer:
    """Listens on this machine's own address alone."""
    try:
        return Listening((ADDRESS, port), partial(Quiet, directory=str(folder)))
    except OSError as error:
        raise AdvbenchError(
            f"port {port}: {error.strerror}; choose another with --port, or 0 for any free one"
        ) from error


def serve(database: Path, port: int, say: Callable[[str], None]) -> None:
    with _told_to_end(), tempfile.TemporaryDirectory(prefix="advbench-site-") as folder:
        for problem in render(database, Path(folder)).problems:
            say(f"· {problem}")
        with server(Path(folder), port) as listening:
            say(f"http://{ADDRESS}:{listening.server_port}/ (Ctrl-C ends)")
            try:
                listening.serve_forever()
            except KeyboardInterrupt:
                return


@contextmanager
def _told_to_end() -> Iterator[None]:
    """A process that is asked to end puts its folder away first, as at Ctrl-C."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(number: int, frame: object) -> None:
        sys.exit(128 + number)

    asked = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    before = [(number, signal.signal(number, end)) for number in asked]
    try:
        yield
    finally:
        for number, handler in before:
            signal.signal(number, handler)
