"""The folder of the site: only what changed is written, and only what was written here is ever removed."""

from __future__ import annotations

import contextlib
import filecmp
import json
import secrets
import sqlite3
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from advbench.errors import AdvbenchError

STATE = "state.json"


class Folder:
    """Files are given to `write` one by one; `finish` removes those of the last time that were not given again."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.state = self._state()
        self.written: list[str] = []
        """Paths from the root, in the order of writing."""
        self.changed: list[str] = []

    def write(self, path: str, data: bytes) -> None:
        self.written.append(path)
        if _replace(self._place(path), data):
            self.changed.append(path)

    def copy(self, path: str, database: sqlite3.Connection) -> None:
        """The database as its readers see it now, without the log that other processes may still write beside it."""
        self.written.append(path)
        place = self._place(path)
        draft = place.with_name(f".{place.name[:60]}.{secrets.token_hex(4)}")
        with _in_words(place):
            place.parent.mkdir(parents=True, exist_ok=True)
            try:
                with contextlib.closing(sqlite3.connect(draft)) as copied:
                    database.backup(copied)
                    copied.execute("PRAGMA journal_mode = DELETE")
                if not place.is_file() or not filecmp.cmp(draft, place, shallow=False):
                    draft.replace(place)
                    self.changed.append(path)
            finally:
                draft.unlink(missing_ok=True)

    def finish(self, facts: Mapping[str, Any]) -> None:
        """Remember what belongs to the site, and what it was made of."""
        gone = set(self.state.get("files", [])) - set(self.written)
        for path in sorted(filter(_inside, gone)):
            self._remove(path)
        state = {**facts, "files": sorted(self.written)}
        _replace(self.root / STATE, (json.dumps(state, indent=1, sort_keys=True) + "\n").encode())

    def _place(self, path: str) -> Path:
        """Where a file goes; never behind a link, which would lead the pages over somebody else's files."""
        if link := self._link_on_the_way(path):
            raise AdvbenchError(f"{link}: a link to elsewhere, where a folder of pages belongs; remove it")
        return self.root / path

    def _link_on_the_way(self, path: str) -> Path | None:
        folders = [self.root / parent for parent in reversed(PurePosixPath(path).parents[:-1])]
        return next((folder for folder in folders if folder.is_symlink()), None)

    def _remove(self, path: str) -> None:
        place = self.root / path
        try:
            place.lstat()
            if self._link_on_the_way(path):
                return
        except OSError:  # gone, or no name that a file can have
            return
        with _in_words(place):
            place.unlink(missing_ok=True)
        for parent in PurePosixPath(path).parents[:-1]:
            with contextlib.suppress(OSError):
                (self.root / parent).rmdir()  # only when nothing is left in it

    def _state(self) -> dict[str, Any]:
        place = self.root / STATE
        try:
            state = json.loads(place.read_text(encoding="utf-8")) if place.is_file() else {}
        except (OSError, ValueError, RecursionError):
            return {}
        files = state.get("files") if isinstance(state, dict) else None
        return state if isinstance(files, list) and all(isinstance(file, str) for file in files) else {}


def _inside(path: str) -> bool:
    """Whether a path that the state file names can be one of ours."""
    pure = PurePosixPath(path)
    return bool(pure.parts) and not pure.is_absolute() and ".." not in pure.parts and not set(path) & {"\\", "\0"}


def _replace(path: Path, data: bytes) -> bool:
    """Whether the file was not like that already."""
    draft = path.with_name(f".{path.name[:60]}.{secrets.token_hex(4)}")
    with _in_words(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_file() and path.read_bytes() == data:
            return False
        try:
            draft.write_bytes(data)
            draft.replace(path)  # a reader never meets half a page
        finally:
            draft.unlink(missing_ok=True)
    return True


@contextlib.contextmanager
def _in_words(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        remedy = "name another folder with --out"
        raise AdvbenchError(f"{path}: can't be written ({error.strerror}); {remedy}") from error
