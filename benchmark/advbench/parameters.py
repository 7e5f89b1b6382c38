"""Things that are named and whose dataclass fields are their parameters: plugins and threats."""

from __future__ import annotations

import dataclasses
import json
import math
import re
from typing import Any, ClassVar, TypeVar

from advbench.errors import AdvbenchError

_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_.\-]*")


@dataclasses.dataclass(frozen=True)
class Parametric:
    """A frozen dataclass whose fields are parameters and whose class variables are declarations."""

    name: ClassVar[str]
    further: ClassVar[str] = ""
    """The field that takes all parameters which no other field has, as pairs in order; what they may be, the class says
    in `__post_init__`."""

    def params(self) -> dict[str, Any]:
        """Every parameter by the name that a user writes, with values that JSON can hold."""
        own = {spelling(f): getattr(self, f.name) for f in self._own()}
        return {key: _jsonable(value) for key, value in (own | self._further()).items()}

    @property
    def label(self) -> str:
        """`pgd` at its defaults, `pgd(steps=40)` away from them; read back by `advbench.spec`.

        A field with `metadata={"always": True}` is named even at its default.
        """
        own = [(f, getattr(self, f.name)) for f in self._own()]
        changed = {spelling(f): v for f, v in own if f.metadata.get("always") or v != default_of(f)} | self._further()
        inner = ", ".join(f"{key}={written(value)}" for key, value in changed.items())
        return f"{self.name}({inner})" if inner else self.name

    def _own(self) -> list[dataclasses.Field[Any]]:
        return [f for f in dataclasses.fields(self) if f.name != self.further]

    def _further(self) -> dict[str, Any]:
        return dict(getattr(self, self.further)) if self.further else {}

    def __post_init__(self) -> None:
        """Refuse values that `at_least`, `between` and `one_of` don't allow."""
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            least, most = field.metadata.get("least"), field.metadata.get("most")
            choices = field.metadata.get("choices")
            wrong = ""
            if least is not None and not value >= least:
                wrong = f"at least {written(least)}"
            elif most is not None and not value <= most:
                wrong = f"at most {written(most)}"
            elif choices is not None and value not in choices:
                wrong = f"one of {', '.join(written(choice) for choice in choices)}"
            if wrong:
                raise AdvbenchError(f"{self.name}: {spelling(field)} must be {wrong}, not {written(value)}")


def at_least(least: float, default: Any) -> Any:
    """A dataclass field whose values are checked: `steps: int = at_least(1, default=40)`."""
    return dataclasses.field(default=default, metadata={"least": least})


def between(least: float, most: float, default: Any) -> Any:
    """A dataclass field for a number from `least` to `most`: `beta: float = between(0, 1, default=0.5)`."""
    return dataclasses.field(default=default, metadata={"least": least, "most": most})


def one_of(*choices: Any, default: Any = None) -> Any:
    """A dataclass field with few values, the first being the default: `loss: str = one_of("ce", "dlr")`."""
    return dataclasses.field(default=choices[0] if default is None else default, metadata={"choices": choices})


P = TypeVar("P", bound=Parametric)


def spelling(field: dataclasses.Field[Any]) -> str:
    """The name a user writes: the field's own, or its `metadata={"parameter": …}` (when `name` is taken, say)."""
    return str(field.metadata.get("parameter", field.name))


def default_of(field: dataclasses.Field[Any]) -> Any:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return field.default


def written(value: Any) -> str:
    """A value as it may stand in `name(parameter=value)`."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return "null"
    if isinstance(value, float):
        return f"{value:g}" if float(f"{value:g}") == value else repr(value)
    if isinstance(value, str):
        safe = _PLAIN.fullmatch(value) and value not in {"true", "false", "null", "inf", "nan"}
        return value if safe else json.dumps(value, ensure_ascii=False)
    if isinstance(value, tuple | list):
        return "[" + ", ".join(written(item) for item in value) + "]"
    return str(value)


def written_radius(eps: float) -> str:
    """A ball's radius as a board's name has it: `0.3`, or `8/255`.

    As a fraction where the number is plainly a count of grey levels and no short decimal.
    """
    if not math.isfinite(eps):
        return written(eps)
    levels = round(eps * 255)
    short = float(f"{eps:.3g}") == eps
    if not short and 0 < levels <= 255 and abs(eps - levels / 255) < 1e-9:
        return f"{levels}/255"
    return written(eps)


def _jsonable(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return repr(value)  # JSON has no infinity
    if isinstance(value, tuple | list):
        return [_jsonable(item) for item in value]
    return value


def hashable(value: Any) -> Any:
    """The same value with tuples for lists."""
    return tuple(hashable(item) for item in value) if isinstance(value, tuple | list) else value
