"""What is remembered of sources within a process, forgotten: for tests that change the files of a package."""

from __future__ import annotations

from advbench.plugins import sources


def forget_sources() -> None:
    for function in vars(sources).values():
        if hasattr(function, "cache_clear"):
            function.cache_clear()
