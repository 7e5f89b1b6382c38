"""The 95 % interval of a rate seen as k of n (Wilson, 1927), for views and for Python from one text."""

from __future__ import annotations

import math
from collections.abc import Callable

Z95 = 1.959963984540054

_CENTRE = f"({{k}} + {Z95 * Z95 / 2!r})"
_ROOT = f"{Z95!r} * sqrt(1.0 * {{k}} * ({{n}} - {{k}}) / {{n}} + {Z95 * Z95 / 4!r})"
_WHOLE = f"({{n}} + {Z95 * Z95!r})"
# Python and SQLite read these two alike.
_LOW = f"max(0.0, ({_CENTRE} - {_ROOT}) / {_WHOLE})"
_HIGH = f"min(1.0, ({_CENTRE} + {_ROOT}) / {_WHOLE})"

_both: Callable[[int, int], tuple[float, float]] = eval(
    f"lambda k, n: ({_LOW}, {_HIGH})".format(k="k", n="n"), {"max": max, "min": min, "sqrt": math.sqrt}
)


def columns(k: str, n: str, name: str) -> str:
    """Columns `{name}`, `{name}_low` and `{name}_high` of a view: k of n and its interval; NULL for n = 0."""
    low, high = (text.format(k=k, n=n) for text in (_LOW, _HIGH))
    return f"1.0 * {k} / {n} AS {name},\n  {low} AS {name}_low,\n  {high} AS {name}_high"


def wilson(k: int, n: int) -> tuple[float, float]:
    """The interval of k of n."""
    if not 0 <= k <= n or n == 0:
        raise ValueError(f"no rate: {k} of {n}")
    return _both(k, n)
