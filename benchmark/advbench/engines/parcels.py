"""Tasks as bytes: what many of them share is packed once, and made once wherever they are performed."""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable, Mapping
from typing import Any

from advbench.engines.crew import Bench, Task
from advbench.errors import AdvbenchError, DamagedTargetError, PluginError, one_line
from advbench.plugins.foreign import no_exit


def packed(task: Task) -> tuple[bytes, dict[int, object]]:
    """The task with keys in place of what it shares, and that by its keys.

    Left to itself, multiprocessing shares tensors by file, and a file's owner may be gone too soon.
    """
    shared = {id(thing): thing for thing in task.shared}
    buffer = io.BytesIO()
    pickler = _Pickler(buffer)
    pickler.shared = shared
    pickler.dump(task)
    return buffer.getvalue(), shared


class Shared:
    """An object that many tasks hold, made from its bytes when it is first needed, and again when it may be damaged."""

    def __init__(self, fetch: Callable[[], Any]) -> None:
        self._fetch = fetch
        self._made: tuple[Any, ...] = ()

    def get(self) -> Any:
        self._made = self._made or (pickle.loads(self._fetch()),)
        return self._made[0]

    def clear(self) -> None:
        self._made = ()


def performed(payload: bytes, shared: Mapping[int, Shared], bench: Bench) -> tuple[Any, Exception | None]:
    """What comes of a packed task: its value, or an error that survives a journey."""
    try:
        with no_exit("a plugin"):
            task = _Unpickler(io.BytesIO(payload), shared).load()
            return task.perform(bench), None
    except Exception as error:
        bench.clear()
        if isinstance(error, DamagedTargetError):
            for one in shared.values():
                one.clear()
        return None, _portable(error)


def _portable(error: Exception) -> Exception:
    """An error of one of our kinds, since a stranger's may not survive the journey."""
    if type(error).__module__ == AdvbenchError.__module__ and error.args == (str(error),):
        return type(error)(str(error))
    return PluginError(one_line(error))


class _Pickler(pickle.Pickler):
    shared: dict[int, object]

    def persistent_id(self, value: Any) -> int | None:
        return id(value) if id(value) in self.shared else None


class _Unpickler(pickle.Unpickler):
    """Puts shared objects in the place of their keys."""

    def __init__(self, file: io.BytesIO, shared: Mapping[int, Shared]) -> None:
        super().__init__(file)
        self._shared = shared

    def persistent_load(self, key: int) -> Any:
        return self._shared[key].get()
