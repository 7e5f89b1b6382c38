"""What a piece of code costs an accelerator: how many kernels it launches, and how often the host waits for one.

A kernel is counted for every operation of ATen that computes, once, however many launches a device makes of it (a sort
makes several). Not counted is what only looks at memory otherwise or reserves it: views (an output that aliases an
input and is not written to), `detach`, `empty`. Autograd's own operations are counted like any other.

A wait is whatever needs a value on the host before the program can go on: `item`, `bool`, `tolist`, `nonzero` and all
that have a shape by values (`masked_select`, `unique`, indexing by a mask), copies to another device, `equal`. Those
that leave no trace in ATen where the data lie on a CPU already (`.cpu()`, `.numpy()`) are seen where they are called.

Counts depend on no machine, so that what an attack costs a GPU is held where there is none.
"""

from __future__ import annotations

import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from advbench.problem.successes import Answers

MEMORY = frozenset({"empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided", "lift_fresh", "set_"})
"""Operations that reserve memory and compute nothing."""
WAITS = frozenset(
    {
        "_local_scalar_dense",
        "is_nonzero",
        "item",
        "equal",
        "nonzero",
        "nonzero_numpy",
        "masked_select",
        "_unique",
        "_unique2",
        "unique_dim",
        "unique_consecutive",
        "bincount",
        "_linalg_check_errors",
        "segment_reduce",
    }
)
INDEXING = frozenset({"index", "index_put", "index_put_", "_index_put_impl_"})
ON_THE_HOST = {Tensor.cpu: "cpu", Tensor.numpy: "numpy", Tensor.tolist: "tolist", Tensor.__array__: "__array__"}
"""What ATen does not hear of when a tensor lies on the host already."""


@dataclass
class Counts:
    """How many of which operations there were, and which of them the host waited for, and where."""

    kernels: Counter[str] = field(default_factory=Counter)
    waits: Counter[str] = field(default_factory=Counter)
    places: Counter[str] = field(default_factory=Counter)
    """Where the host waited: `module.function: operation`, the innermost place outside of torch and of this module."""

    @property
    def launched(self) -> int:
        return self.kernels.total()

    @property
    def waited(self) -> int:
        return self.waits.total()

    def copy(self) -> Counts:
        return Counts(self.kernels.copy(), self.waits.copy(), self.places.copy())

    def __sub__(self, other: Counts) -> Counts:
        """What is here more often than there."""
        return Counts(self.kernels - other.kernels, self.waits - other.waits, self.places - other.places)


class Kernels:
    """In its block operations are counted: `with Kernels() as counts: …`."""

    def __init__(self) -> None:
        self._counts = Counts()
        self._modes = (_Called(self._counts), _Dispatched(self._counts))

    def __enter__(self) -> Counts:
        for mode in self._modes:
            mode.__enter__()  # type: ignore[no-untyped-call]
        return self._counts

    def __exit__(self, *error: Any) -> None:
        for mode in reversed(self._modes):
            mode.__exit__(*error)  # type: ignore[no-untyped-call]


def counted(run: Callable[[], object]) -> Counts:
    """What one call costs."""
    with Kernels() as counts:
        run()
    return counts


def per_step(run: Callable[[int], object], steps: int, more: int = 1) -> Counts:
    """What `more` steps add to so many: whatever is done once, before or after them, is in both and falls out."""
    fewer = counted(lambda: run(steps))
    return counted(lambda: run(steps + more)) - fewer


def by_pass(answers: Answers, run: Callable[[Answers], object]) -> list[Counts]:
    """What lies between any two questions to the target: a pass, and all that is done until the next one begins.

    `run` is given the answers that note it.
    """
    with Kernels() as counts:
        noting = _Noting(answers, counts)
        run(noting)
    return [later - earlier for earlier, later in pairwise(noting.marks)]


class _Noting:
    """A target's answers, noting what has been counted whenever one is asked for."""

    def __init__(self, answers: Answers, counts: Counts) -> None:
        self._answers, self._counts = answers, counts
        self.marks: list[Counts] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._answers, name)

    def logits(self, images: Tensor) -> Tensor:
        self.marks.append(self._counts.copy())
        return self._answers.logits(images)


class _Dispatched(TorchDispatchMode):  # type: ignore[no-untyped-call]
    def __init__(self, counts: Counts) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._counts = counts

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = func._schema.name.partition("::")[2]
        if _waits(name, args, kwargs):
            self._counts.waits[name] += 1
            self._counts.places[f"{_place()}: {name}"] += 1
        if name not in MEMORY and not _is_view(func):
            self._counts.kernels[name] += 1
        return func(*args, **kwargs)


class _Called(TorchFunctionMode):
    def __init__(self, counts: Counts) -> None:
        super().__init__()
        self._counts = counts

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = ON_THE_HOST.get(func)
        if name is None and func is Tensor.to and _to_the_host(args[1:], kwargs or {}):
            name = "to"
        if name is not None:
            self._counts.waits[name] += 1
            self._counts.places[f"{_place()}: {name}"] += 1
        return func(*args, **(kwargs or {}))


def _waits(name: str, args: Any, kwargs: Any) -> bool:
    if name in WAITS:
        return True
    if name in INDEXING:
        return any(isinstance(index, Tensor) and index.dtype in (torch.bool, torch.uint8) for index in args[1])
    if name == "repeat_interleave":
        return kwargs.get("output_size") is None
    if name in ("_to_copy", "copy_"):
        device = kwargs.get("device") if name == "_to_copy" else args[0].device
        source = args[0] if name == "_to_copy" else args[1]
        return device is not None and torch.device(device).type != source.device.type
    return False


def _to_the_host(args: Any, kwargs: Any) -> bool:
    """Whether `.to` names the CPU outright; a tensor's own device is no such thing."""
    wanted = kwargs.get("device", args[0] if args else None)
    return isinstance(wanted, str) and torch.device(wanted).type == "cpu"


def _is_view(func: Any) -> bool:
    returns = func._schema.returns
    return bool(returns) and all(one.alias_info is not None and not one.alias_info.is_write for one in returns)


def _place() -> str:
    """The innermost function of ours, or of a plugin's, that is at work."""
    for frame in reversed(traceback.extract_stack(limit=40)):
        path = frame.filename.replace("\\", "/")
        if "/torch/" not in path and not path.endswith("testing/kernels.py"):
            return f"{path.rpartition('/')[2].removesuffix('.py')}.{frame.name}"
    return "?"
