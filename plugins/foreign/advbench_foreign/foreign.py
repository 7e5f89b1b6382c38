"""An attack of another library as an entrant: what the two have in common.

The library's own code runs for every example by itself, in a lane (`advbench.in_lanes`), so that its result depends on
that example and its seed alone, and what it asks of its network is a pass of the problem.
"""

from __future__ import annotations

import contextlib
import importlib
import sys
import warnings
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, fields
from importlib.metadata import PackageNotFoundError, version
from types import ModuleType
from typing import Any, ClassVar, Literal

from torch import Tensor, nn

from advbench import (
    Access,
    AdvbenchError,
    Attack,
    NotInstalledError,
    PluginError,
    Problem,
    did_you_mean,
    in_lanes,
)
from advbench_foreign.arguments import checked, is_plain
from advbench_foreign.known import Known

Keep = Literal["returned", "path"]


@dataclass(frozen=True)
class Foreign(Attack):
    """Fields of subclasses: `attack`, a name of the library's; `keep`; and `arguments`, all that is given besides."""

    library: ClassVar[str]
    """The library's name, of its distribution, its module and the extra alike."""
    table: ClassVar[Mapping[str, Known]]
    refused: ClassVar[Mapping[str, str]]
    """Attacks of the library that can't be entered, each with the reason."""
    ours: ClassVar[Mapping[str, str]]
    """Arguments that advbench gives, each with what it is."""
    further = "arguments"

    attack: str
    keep: Keep = "returned"
    arguments: tuple[tuple[str, Any], ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.keep not in ("returned", "path"):
            raise AdvbenchError(f"{self.name}: keep must be returned or path, not {self.keep!r}")
        if reason := self.refused.get(self.attack):
            raise AdvbenchError(f"{self.name}: {self.attack} can't be entered: {reason}")
        if self.attack not in self.table:
            hint = did_you_mean(self.attack, self.table) or f"; known are {', '.join(sorted(self.table))}"
            raise AdvbenchError(f"{self.name} has no attack {self.attack!r}{hint}")
        for key, value in self.arguments:
            if not is_plain(value):
                raise AdvbenchError(f"{self.name}: {key} can't be written as text")
        default = next(field.default for field in fields(self) if field.name == "attack")
        if self.arguments or self.attack != default:  # entered as it comes, it loads no library
            with contextlib.suppress(NotInstalledError):  # what is stored can be read without, and not run
                self._arguments()

    # What it declares follows from the attack that is named

    @property
    def known(self) -> Known:
        return self.table[self.attack]

    @property
    def threats(self) -> frozenset[str]:  # type: ignore[override]
        return self.known.balls

    @property
    def needs(self) -> Access:  # type: ignore[override]
        return self.known.needs

    @property
    def targeted(self) -> bool:  # type: ignore[override]
        return self.known.targeted

    @property
    def minimizes(self) -> bool:  # type: ignore[override]
        return self.known.minimizes

    @property
    def beyond_gradients(self) -> bool:  # type: ignore[override]
        return self.known.beyond_gradients

    def content(self) -> str:
        """The library's version, since what it does is no source of ours."""
        try:
            return f"{self.library} {version(self.library)}"
        except PackageNotFoundError as error:
            raise self._missing() from error

    def perturb(self, problem: Problem) -> Tensor:
        self._module()

        def search(net: nn.Module, image: Tensor, label: Tensor, seed: int) -> Tensor:
            given = Given(problem.threat.name, problem.eps, problem.classes, problem.goal.targeted, seed)
            try:
                return self.images(net, image, label, given)
            except AdvbenchError:
                raise
            except Exception as error:
                if self.known.starts and self.found_no_start(error):
                    return image
                raise PluginError(
                    f"{self.label}: {self.library} {version(self.library)} failed: {type(error).__name__}: {error}"
                ) from error

        return in_lanes(problem, search, keep=self.keep)

    @abstractmethod
    def images(self, net: nn.Module, image: Tensor, label: Tensor, given: Given) -> Tensor:
        """What the library makes of images."""

    def found_no_start(self, error: Exception) -> bool:
        """Whether an error says that there was nowhere to begin."""
        return False

    def _kind(self) -> type:
        """The library's class."""
        kind: type = getattr(self._module(), self.attack)
        return kind

    def _module(self) -> ModuleType:
        if module := sys.modules.get(self.library):
            return module
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of what it imports, which is nothing that its user can mend
                return importlib.import_module(self.library)
        except ModuleNotFoundError as error:
            if error.name == self.library:
                raise self._missing() from error
            raise AdvbenchError(f"{self.name}: {self.library} can't be imported: {error}") from error

    def _missing(self) -> NotInstalledError:
        return NotInstalledError(
            f'{self.name}: {self.library} is not installed; pip install "advbench[{self.library}]"'
        )

    def _arguments(self) -> dict[str, Any]:
        own = ("attack", "keep")
        return checked(f"{self.name}: {self.attack}", self._kind(), dict(self.arguments), self.ours, own)


@dataclass(frozen=True)
class Given:
    """What the library is told of the problem beside network, image and label."""

    ball: str
    eps: float
    classes: int
    targeted: bool
    seed: int

    @property
    def norm(self) -> str:
        return {"linf": "Linf", "l2": "L2", "l1": "L1"}[self.ball]
