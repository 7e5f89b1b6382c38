"""A suite: which data, threats, models, defenses and attacks meet; read with the place of every mistake."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from advbench.errors import AdvbenchError, did_you_mean
from advbench.plugin import Attack, Defense, Model
from advbench.suite.board import Board, BoardReader
from advbench.suite.document import Item, compose, from_option, from_python
from advbench.suite.resolution import Resolution, Scalars
from advbench.target.identity import chain_label

if TYPE_CHECKING:
    from advbench.plugins.registry import Registry
    from advbench.threats import Threat

CONFIRMING = "a pass confirms what it finds"
_LARGEST_FILE = 1_000_000
_LISTS = ("data", "models", "defenses", "attacks", "goals", "threats")
_SAID = ("name", "seed", "stop", "fit", "shard", "budget", "timeout", "precision")
KEYS = (*(f.name for f in dataclasses.fields(Scalars)), *_LISTS)


@dataclass(frozen=True)
class Suite:
    """Everything that a run needs to know, checked and resolved."""

    name: str
    seed: int
    stop: Literal["first", "end"]
    fit: Literal["calibrate", "judge", "train"]
    shard: int
    budget: int | None
    timeout: float | None
    false_positive_rate: float | None
    """The rate that detectors are set to; None where there is no detector."""
    precision: Literal["float32", "bf16"]
    """Of attack passes; the referee judges in float32."""
    models: tuple[Model, ...]
    defenses: tuple[tuple[Defense, ...], ...]
    boards: tuple[Board, ...]

    @property
    def settings(self) -> dict[str, Any]:
        """The suite as a mapping that JSON can hold and `suite_from_mapping` reads back."""
        scalars = {key: getattr(self, key) for key in _SAID}
        threats = [
            {
                board.threat.label: {
                    "data": [board.dataset.label],
                    "examples": board.examples,
                    **({} if board.drawn is None else {"drawn": board.drawn}),
                    "attacks": [attack.label for attack in board.attacks],
                    "goals": list(board.goals),
                    "required": list(board.required),
                }
            }
            for board in self.boards
        ]
        return {
            **scalars,
            "false_positive_rate": self.false_positive_rate,
            "models": [model.label for model in self.models],
            "defenses": [chain_label(chain) for chain in self.defenses],
            "threats": threats,
        }


@dataclass(frozen=True)
class Overrides:
    """What the command line puts in the place of the suite's own settings; lists replace lists."""

    examples: int | None = None
    drawn: int | None = None
    seed: int | None = None
    stop: str | None = None
    shard: int | None = None
    budget: int | None = None
    timeout: float | None = None
    precision: str | None = None
    data: list[str] | None = None
    models: list[str] | None = None
    defenses: list[str] | None = None
    attacks: list[str] | None = None
    goals: list[str] | None = None
    threats: list[str] | None = None

    def items(self) -> dict[str, Item]:
        options = {"data": "--dataset", "models": "--model", "defenses": "--defense", "attacks": "--attack"}
        options |= {"goals": "--goal", "threats": "--threat"}
        given = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if getattr(self, f.name) is not None}
        return {key: from_option(value, options.get(key, f"--{key}")) for key, value in given.items()}


def load_suite(path_or_name: str | Path, registry: Registry, overrides: Overrides | None = None) -> Suite:
    """Read a suite from a file, or an embedded one by its name."""
    text, source, name = _read(path_or_name)
    resolution = Resolution(registry)
    root = compose(text, source, resolution.fault)
    return _resolve(resolution, root, name, overrides or Overrides())


def suite_from_mapping(
    mapping: Mapping[str, Any],
    registry: Registry,
    overrides: Overrides | None = None,
    name: str = "suite",
    unsaid: Callable[[Threat], tuple[Attack, ...]] | None = None,
) -> Suite:
    """A suite from a mapping in Python; models, defenses, attacks, threats and data may also be instances.

    `unsaid` gives the attacks of a ball for which the mapping has none; without it that is a mistake.
    """
    return _resolve(Resolution(registry), from_python(mapping, ""), name, overrides or Overrides(), unsaid)


def embedded_suites() -> list[str]:
    """Names of the suites that come with advbench."""
    folder = files("advbench.suite") / "embedded"
    return sorted(entry.name.removesuffix(".yaml") for entry in folder.iterdir() if entry.name.endswith(".yaml"))


def _read(path_or_name: str | Path) -> tuple[str, str, str]:
    """The text of a suite, how to call it in errors, and its default name."""
    given = str(path_or_name)
    path = Path(given).expanduser()
    if given in embedded_suites():
        content, name = (files("advbench.suite") / "embedded" / f"{given}.yaml").read_bytes(), given
    elif not path.exists():
        embedded = embedded_suites()
        raise AdvbenchError(
            f"no suite {given!r}: there is no such file, and the embedded suites are {', '.join(embedded)}"
            f"{did_you_mean(given, embedded)}"
        )
    else:
        try:
            with path.open("rb") as file:
                content, name = file.read(_LARGEST_FILE + 1), path.stem
        except OSError as error:
            problem = "a folder; name a suite file in it" if path.is_dir() else f"{error.strerror or error}"
            raise AdvbenchError(f"suite {given}: {problem}") from error
    if len(content) > _LARGEST_FILE:
        raise AdvbenchError(f"suite {given}: larger than {_LARGEST_FILE // 1_000_000} MB; is it a suite?")
    try:
        return content.decode("utf-8-sig"), given, name
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise AdvbenchError(f"{given}:{line}: not UTF-8 text; save the suite as UTF-8") from error


def _resolve(
    resolution: Resolution,
    root: Item,
    name: str,
    overrides: Overrides,
    unsaid: Callable[[Threat], tuple[Attack, ...]] | None = None,
) -> Suite:
    given = overrides.items()
    top = _top(resolution, root)
    if not isinstance(root.value, dict):
        resolution.refuse()
    entries = {**top, **given}
    scalars = _scalars(resolution, entries, name)
    models = resolution.several(entries.get("models"), "models", resolution.entrant(Model, "model"), root.place)
    defenses = resolution.several(entries.get("defenses"), "defenses", resolution.chain, None, chain_label)
    boards = BoardReader(resolution, unsaid).boards(entries, top.get("threats"), scalars, given, root.place)
    resolution.refuse()
    values = {
        f.name: getattr(scalars, f.name) for f in dataclasses.fields(scalars) if f.name not in ("examples", "drawn")
    }
    return Suite(**values, models=models, defenses=defenses or (resolution.registry.defense("none"),), boards=boards)


def _top(resolution: Resolution, root: Item) -> dict[str, Item]:
    if not isinstance(root.value, dict):
        resolution.fault(root.place, f"a suite is a mapping with the keys {', '.join(KEYS)}")
        return {}
    for key, item in root.value.items():
        if key not in KEYS:
            near = difflib.get_close_matches(key, KEYS, 1)
            resolution.misspelt.update(near)
            hint = did_you_mean(key, KEYS) or f" (known: {', '.join(KEYS)})"
            resolution.fault(item.key or item.place, f"unknown key {key!r}{hint}")
    return {key: item for key, item in root.value.items() if key in KEYS}


def _scalars(resolution: Resolution, entries: Mapping[str, Item], name: str) -> Scalars:
    values: dict[str, Any] = {"name": name}
    for f in dataclasses.fields(Scalars):
        if f.name in entries:
            values |= resolution.setting(f.name, entries[f.name])
    if values.get("precision", "float32") != "float32" and values.get("budget") == 1:
        resolution.fault(
            entries["budget"].place, f"budget: must be at least 2 with precision {values['precision']}: {CONFIRMING}"
        )
    return Scalars(**values)
