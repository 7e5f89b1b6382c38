"""One image asked of a network and again behind each defense, so that what fails is told with a name."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from advbench.data import Examples
from advbench.errors import PluginError, words
from advbench.plugin import Defense
from advbench.plugins.compatibility import sides
from advbench.plugins.foreign import attributed, no_exit
from advbench.target.answer import seeded


def logits_of(who: str, net: nn.Module, images: Tensor, classes: int) -> Tensor:
    with no_exit(who):
        logits: object = net(images)
    if not isinstance(logits, Tensor) or logits.shape != (len(images), classes):
        got = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise PluginError(f"{who}: answered {got} for {len(images)} images of {classes} classes")
    return logits


def suspicion_of(defense: Defense, net: nn.Module, images: Tensor) -> Tensor:
    with no_exit(f"{defense.label}: `suspicion`"):
        score: object = defense.suspicion(net, images)
    if not isinstance(score, Tensor) or score.shape != (len(images),):
        got = tuple(score.shape) if isinstance(score, Tensor) else type(score).__name__
        raise PluginError(f"{defense.label}: `suspicion` answered {got} for {len(images)} images")
    return score


def wrapped(defense: Defense, net: nn.Module, learning: Examples) -> nn.Module:
    """The network behind the defense."""
    with attributed(f"{defense.label}: `wrap` failed"):
        behind: object = defense.wrap(net, learning)
    if not isinstance(behind, nn.Module):
        raise PluginError(f"{defense.label}: `wrap` returned {type(behind).__name__}, not a torch.nn.Module")
    return behind


@dataclass(frozen=True)
class Trial:
    images: Tensor
    classes: int

    @classmethod
    def of(cls, examples: Examples, classes: int, device: torch.device) -> Trial:
        """The first example, twice: no network is ever asked about a batch of one, and some can't answer it."""
        return cls(examples[:1].pixels(device).repeat(2, 1, 1, 1), classes)

    def ask(self, who: str, net: nn.Module) -> None:
        """Whether the network answers with logits."""
        with self._quietly(f"{who}: can't answer images of {self._size}"):
            logits_of(who, net, self.images, self.classes)

    def suspect(self, defense: Defense, net: nn.Module) -> None:
        """Whether it has a suspicion of each image."""
        with self._quietly(f"{defense.label}: `suspicion` failed"):
            suspicion_of(defense, net, self.images)

    def ask_behind(self, defense: Defense, wrapped: nn.Module, net: nn.Module) -> None:
        """Whether the defended network answers; one that can't take what it is handed is not to blame."""
        if wrapped is net:
            return
        handed: list[tuple[int, ...]] = []

        def look(module: nn.Module, given: tuple[Any, ...]) -> None:
            handed.extend(tuple(x.shape[1:]) for x in given if isinstance(x, Tensor))

        hook = net.register_forward_pre_hook(look)
        try:
            self.ask(defense.label, wrapped)
        except PluginError as error:
            other = next((shape for shape in handed if shape != tuple(self.images.shape[1:])), None)
            if other is None:
                raise
            why = f"hands images of {sides(other)} on to a network that is built for {self._size}"
            raise PluginError(f"{defense.label}: {why} ({words(error.__cause__ or error)})") from error
        finally:
            hook.remove()

    @property
    def _size(self) -> str:
        return sides(tuple(self.images.shape[1:]))

    @contextmanager
    def _quietly(self, what: str) -> Iterator[None]:
        """A block without a graph, and without a draw from torch's generators that others would notice."""
        with attributed(what), torch.no_grad(), seeded("probe", self.images.device):
            yield
