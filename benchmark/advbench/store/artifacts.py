"""Perturbations, kept so that anybody can judge them again: safetensors files named by their content's sha256."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import secrets
import stat
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from advbench.errors import AdvbenchError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from torch import Tensor

ABANDONED = 3600.0
"""Seconds after which a draft is nobody's any more."""
LARGEST = 1 << 30
"""Bytes of a file; the shards of a cell stay far below, and more is read from no one."""


class Artifacts:
    """A folder beside the database: `ab/abcdef….safetensors`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._swept: set[Path] = set()

    def put(self, tensors: Mapping[str, Tensor]) -> tuple[str, int]:
        """Store the tensors; the sha256 to find them by, and how many bytes they take."""
        data = serialise(tensors)
        sha = hashlib.sha256(data).hexdigest()
        self._write(sha, data)
        return sha, len(data)

    def whole(self, sha: str) -> bool:
        """Whether the file is there and has not been damaged."""
        try:
            self.read(sha)
        except AdvbenchError:
            return False
        return True

    def get(self, sha: str) -> dict[str, Tensor]:
        """The tensors of an artifact, whose bytes are checked against the hash."""
        from safetensors import SafetensorError
        from safetensors.torch import load

        data = self.read(sha)
        try:
            return load(data)
        except (SafetensorError, KeyError, ValueError, RuntimeError, RecursionError) as error:
            reason = " ".join(str(error).split())[:120]
            raise AdvbenchError(
                f"{self._name(sha)}: holds no tensors ({reason}), though its sha256 is right"
            ) from error

    def read(self, sha: str) -> bytes:
        """The bytes of an artifact, checked against the hash."""
        data = self._read(sha)
        if hashlib.sha256(data).hexdigest() != sha:
            raise AdvbenchError(f"{self._name(sha)}: damaged (its sha256 differs); restore this file from a copy")
        return data

    def keep(self, sha: str, data: bytes) -> None:
        """Write the bytes of an artifact that was made or checked elsewhere, under their hash."""
        self._write(sha, data)

    def path(self, sha: str) -> Path:
        """Where an artifact lies: always inside the folder, even if a database names something that is no hash."""
        if not re.fullmatch(r"[0-9a-f]{64}", str(sha)):
            raise AdvbenchError(f"{str(sha)[:80]!r} is no sha256 of an artifact")
        return self.folder / sha[:2] / f"{sha}.safetensors"

    def _name(self, sha: str) -> str:
        return str(self.path(sha))

    def _write(self, sha: str, data: bytes) -> None:
        path = self.path(sha)
        with _in_words(path):
            if path.exists() and path.read_bytes() == data:
                return
            path.parent.mkdir(parents=True, exist_ok=True)
            self._sweep(path.parent)
            # a row in the database must never point at half a file: whole first, then under its name
            draft = path.with_name(f".{sha}.{os.getpid()}.{secrets.token_hex(4)}")
            try:
                with draft.open("xb") as file:
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
                draft.replace(path)
            finally:
                draft.unlink(missing_ok=True)
            for folder in (path.parent, self.folder, self.folder.parent):
                _sync(folder)

    def _sweep(self, folder: Path) -> None:
        """Drafts of processes that were killed: nobody takes an hour to write one."""
        if folder in self._swept:
            return
        self._swept.add(folder)
        for draft in folder.glob(".*"):
            with suppress(OSError):  # gone, or another's
                if re.fullmatch(r"\.[0-9a-f]{64}\..*", draft.name) and time.time() - draft.stat().st_mtime > ABANDONED:
                    draft.unlink()

    def _read(self, sha: str) -> bytes:
        path = self.path(sha)
        try:
            # a pipe in the place of a file would keep its reader waiting
            with os.fdopen(os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0)), "rb") as file:
                status = os.fstat(file.fileno())
                if not stat.S_ISREG(status.st_mode) or status.st_size > LARGEST:
                    raise AdvbenchError(f"{path}: no file of at most {LARGEST >> 20} MiB, so no artifact")
                return file.read()
        except FileNotFoundError:
            remedy = f"restore it from a copy; {self.folder.name} belongs beside the database"
            raise AdvbenchError(f"{path}: missing; {remedy}") from None
        except OSError as error:
            raise AdvbenchError(
                f"{path}: can't be read ({error.strerror}); check its permissions and the disk"
            ) from error


class ArtifactsInMemory(Artifacts):
    """Artifacts that are kept in memory and are gone with the process."""

    def __init__(self) -> None:
        super().__init__(Path("memory"))
        self._files: dict[str, bytes] = {}

    def _write(self, sha: str, data: bytes) -> None:
        self._files[sha] = data

    def _read(self, sha: str) -> bytes:
        if sha not in self._files:
            raise AdvbenchError(f"no perturbations {sha[:12]} in this process's memory; give the run a file with --db")
        return self._files[sha]


def serialise(tensors: Mapping[str, Tensor]) -> bytes:
    """Tensors as the bytes of an artifact, the same for the same tensors."""
    from safetensors.torch import save

    return save({name: tensors[name].detach().cpu().contiguous() for name in sorted(tensors)})


@contextmanager
def _in_words(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            remedy = "the disk is full; free some space and run the same command again to resume"
        else:
            remedy = f"can't be written ({error.strerror}); check the permissions of its folder"
        raise AdvbenchError(f"{path}: {remedy}") from error


def _sync(folder: Path) -> None:
    """Make a new name in the folder outlive a power cut, where the system can."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
