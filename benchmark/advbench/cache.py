"""The folder for what may be deleted at any time, and files that are never half written."""

from __future__ import annotations

import contextlib
import os
import secrets
import sys
import time
from pathlib import Path

from advbench.errors import AdvbenchError

CACHE_VARIABLE = "ADVBENCH_CACHE"


def cache_folder() -> Path:
    """`ADVBENCH_CACHE`, or the platform's folder for what may be deleted at any time."""
    if named := os.environ.get(CACHE_VARIABLE):
        return Path(named).expanduser()
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData/Local")) / "advbench" / "Cache"
    if sys.platform == "darwin":
        return Path.home() / "Library/Caches/advbench"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "advbench"


def replace_file(path: Path, content: bytes, *, private: bool = False) -> None:
    """Put a file in place in one step: a reader sees the old one or the new one, never half of it.

    A `private` one can be read and written by its owner alone.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for draft in path.parent.glob(".*.part"):  # of processes that were killed: nobody takes an hour to write one
            with contextlib.suppress(OSError):
                if time.time() - draft.stat().st_mtime > 3600:
                    draft.unlink()
        part = path.with_name(f".{path.name[:100]}.{os.getpid()}.{secrets.token_hex(4)}.part")
        try:
            with part.open("xb") as file:  # with the rights that the user's umask leaves
                if private:
                    part.chmod(0o600)
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        raise AdvbenchError(
            f"{path}: can't be written ({error.strerror or error}); "
            f"{CACHE_VARIABLE} names another folder to keep weights in"
        ) from error
