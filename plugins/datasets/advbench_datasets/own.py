"""What data sets of a user's own have in common: a place in a data folder, and classes that the user lists."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from advbench import AdvbenchError, DataFolders

MOST_BYTES = 16 * 2**30
"""What one data set may take once it is unpacked; what claims more is refused before it is read."""


def inside(name: str, parameter: str, text: str) -> str:
    """The place within a data folder, refused where it names a folder of this machine.

    Labels stand in databases and on pages, and a database may come from anybody: so a label neither tells where
    somebody keeps data nor leads out of the folders that are named with --data.
    """
    place = PurePosixPath(text)
    if place.is_absolute() or Path(text).is_absolute() or "\\" in text or text.startswith("~") or ".." in place.parts:
        last = text.replace("\\", "/").rstrip("/").rpartition("/")[2]
        example = last if last not in ("", "..", "~") else "flowers"
        raise AdvbenchError(
            f"{name}: {parameter} is looked for in data folders, and is published; "
            f"write {parameter}={example} and name the folder around it with --data or ADVBENCH_DATA"
        )
    return text


def listed(name: str, classes: tuple[str, ...]) -> tuple[str, ...]:
    """The classes as the user lists them, each once and at least two."""
    if len(classes) < 2 or len(set(classes)) < len(classes):
        raise AdvbenchError(f"{name}: list at least two classes, each once, in the order of their labels")
    return classes


def absent(label: str, name: str, folders: DataFolders) -> AdvbenchError:
    looked = ", ".join(str(folder) for folder in folders.folders) or "no folder at all"
    return AdvbenchError(
        f"{label}: not on this machine; looked in {looked} for {name}; "
        "name the folder that has it with --data or ADVBENCH_DATA"
    )
