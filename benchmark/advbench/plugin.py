"""What a plugin author subclasses: Attack, Model, Defense, Dataset."""

from __future__ import annotations

import copy
import inspect
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from advbench.access import Access
from advbench.data import DataFolders
from advbench.errors import PluginError
from advbench.geometry import Geometry
from advbench.parameters import Parametric

if TYPE_CHECKING:
    from advbench.data import Data, Examples
    from advbench.draws import Draws
    from advbench.problem.problem import Problem
    from advbench.recipe import Recipe
    from advbench.threats import Threat


@dataclass(frozen=True)
class Plugin(Parametric, ABC):
    """A named entrant: `name` and the other class variables declare, the fields are parameters."""

    reference: ClassVar[str] = ""
    """Where the idea is published; shown on the page."""

    @property
    def summary(self) -> str:
        """The first line of the class's docstring, or of its module's."""
        own = type(self).__doc__ or ""
        if own.startswith(f"{type(self).__name__}("):  # the signature that `dataclass` writes
            own = ""
        module = inspect.getmodule(type(self))
        text = own or (module.__doc__ if module else "") or ""
        return text.strip().split("\n")[0]


@dataclass(frozen=True)
class Attack(Plugin):
    """Searches a threat ball around each image for a perturbation that reaches the goal."""

    threats: ClassVar[frozenset[str]] = frozenset()
    """Names of the balls it can search, where it knows them by name."""
    geometry: ClassVar[Geometry | None] = None
    """What it needs of a ball, where it searches all that offer it, a stranger's too; None: those it names alone."""
    needs: ClassVar[Access]
    """What it must be told; anything else is refused when asked for."""
    targeted: ClassVar[bool] = True
    """Whether it can also aim at a chosen class."""
    minimizes: ClassVar[bool] = False
    """Whether it looks for the smallest perturbation; it then runs once, in the unbounded ball."""
    measures: ClassVar[bool] = False
    """Whether it searches nothing: it gives every example one answer (a corruption, what another run made), and that
    is judged, also for images that are wrong when clean. A search has won these before it begins."""
    scope: ClassVar[Literal["example", "set"]] = "example"
    """`set`: it looks for one perturbation that serves all images, and `perturb` is given a `SharedProblem`."""
    uses_bank: ClassVar[bool] = False
    """Whether it starts at held-out images, which `problem.bank` then holds; without any it can't aim at a class."""
    beyond_gradients: ClassVar[bool] = False
    """Whether it also finds what no gradient at the image leads to: it searches by answers alone, tries everything, or
    comes along the boundary from outside. A robust accuracy that no such attack stands behind is weak evidence."""
    builds_on: ClassVar[tuple[str, ...]] = ()
    """Parameters that name another attack, as in `pgd(steps=20)`: `others` has it, and the key of every cell its source
    and what it reads."""
    trial: ClassVar[Mapping[str, Any]] = {}
    """Parameters that make it cheap enough to be tried out (by the conformance kit, say); empty when it is anyway."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Who names balls and asks for no geometry serves those alone, whatever the class is made from."""
        super().__init_subclass__(**kwargs)
        if "threats" in vars(cls) and "geometry" not in vars(cls):
            cls.geometry = None

    @property
    def others(self) -> Mapping[str, Attack]:
        """The attacks that `builds_on` names, by parameter: those of the run, which knows what is installed."""
        others: Mapping[str, Attack] = vars(self).get("_others", {})
        if len(others) < len(self.builds_on):
            raise PluginError(
                f"{self.label}: it builds on other attacks, which a registry knows: make it by "
                f"`registry.attack({self.label!r})`, or give it to `registry.settle`"
            )
        return others

    def with_others(self, others: Mapping[str, Attack]) -> Self:
        """A copy that has them; made by the registry before anything else is asked."""
        copied = copy.copy(self)
        vars(copied)["_others"] = dict(others)
        return copied

    def searches(self, threat: Threat) -> bool:
        """Whether it knows the ball by its name, or needs no more of it than it offers."""
        return threat.name in self.threats or (self.geometry is not None and self.geometry in threat.offers)

    def passes(self, classes: int) -> int | None:
        """About how many forward passes an example costs when nothing stops early, or None when unknown.

        With `scope = "set"`, an example of those that it is fitted on.
        """
        return None

    def content(self) -> str:
        """What its outcome depends on beside parameters and target: a digest of the files that it reads, say."""
        return ""

    @abstractmethod
    def perturb(self, problem: Problem) -> Tensor:
        """Return one perturbation per example, in the coordinates of the problem's threat; one in all for a set."""


@dataclass(frozen=True)
class Part(Plugin):
    """A part of a target, which may serve some data sets only."""

    @property
    def shape(self) -> tuple[int, int, int] | None:
        """The one shape of images that it takes: channels, height, width. None where it fits itself to the data."""
        return None

    @property
    def classes(self) -> int | None:
        """The one number of classes that it knows; None where it fits itself to the data."""
        return None

    def why_not(self, dataset: Dataset) -> str | None:
        """A reason beside shape and classes why it can't serve the data set, or None."""
        return None


@dataclass(frozen=True)
class Model(Part):
    """An architecture and how to train it: images in [0, 1] to logits, normalisation inside."""

    offers: ClassVar[Access] = Access.GRADIENTS
    """What can be learnt from it; with RECONSTRUCTION its network has `reconstruct(images, classes)`."""

    weights: str = field(default="", kw_only=True)
    """A safetensors file to load instead of the weights that the recipe makes or the network comes with."""

    @property
    def weights_file(self) -> Path | None:
        """The file that `weights` names; a model whose `weights` may also name something else says None then.

        A relative name is looked for here, then in the data folders of `ADVBENCH_DATA`: a suite or a study that names
        published weights says the same on every machine.
        """
        if not self.weights:
            return None
        path = Path(self.weights).expanduser()
        return path if path.is_absolute() or path.exists() else DataFolders.default().find(self.weights) or path

    @property
    def feature_layer(self) -> str:
        """The layer whose activations describe an image, which the network has as an attribute of that name, too."""
        return ""

    @abstractmethod
    def build(self, dataset: Dataset) -> nn.Module:
        """An untrained network for the data set's shape and number of classes."""

    @abstractmethod
    def recipe(self, dataset: Dataset) -> Recipe | None:
        """How to train it on the data set; None when `build` returns it ready."""

    def loss(self, net: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
        """The loss that training minimises, as a mean over the batch; cross-entropy unless a model overrides it."""
        return F.cross_entropy(net(images), labels)


@dataclass(frozen=True)
class Defense(Part):
    """Stands between attacker and model: changes its training, its answers, raises suspicion, or several of these.

    What it hands on to the network has the data set's shape, for which networks are built.
    """

    requires: ClassVar[Access] = Access.LABELS
    """What the model must offer for this defense to work."""
    keeps: ClassVar[Access] = Access.ALL
    """What an attacker may still learn through it."""
    trains: ClassVar[bool] = False
    """Whether `training_batch` changes training, so that the model needs weights of its own behind it."""
    detects: ClassVar[bool] = False
    """Whether `suspicion` is defined."""
    differentiable: ClassVar[bool] = False
    """Whether `suspicion` has useful gradients, so that detector-aware attacks may be offered it."""
    reads_features: ClassVar[bool] = False
    """Whether it needs a model that names its `feature_layer`."""
    fits: ClassVar[bool] = False
    """Whether `wrap` learns from held-out images. It is given half of them, `suspicion` is asked with what it
    returned, and a detector's threshold is set on the other half."""

    trained_behind: ClassVar[bool] = False
    """Whether a network may be trained behind what `wrap` returns: before a defense that trains, it stands in the way
    of training, too. Such a `wrap` changes images in front of the network, learns nothing and passes gradients on."""
    certifies: ClassVar[str] = ""
    """The balls in which `certify` proves radii (`l2`, say); nothing that changes answers may then come after it."""
    trial: ClassVar[Mapping[str, Any]] = {}
    """Parameters that make it cheap enough to be tried out; empty when it is anyway."""

    def training_recipe(self, recipe: Recipe) -> Recipe:
        """The model's recipe as this defense wants it (more epochs, say)."""
        return recipe

    def training_batch(
        self, net: nn.Module, images: Tensor, labels: Tensor, draws: Draws, progress: float
    ) -> tuple[Tensor, Tensor]:
        """The batch to train on instead; `progress` runs from 0 to 1 over the training."""
        return images, labels

    def wrap(self, net: nn.Module, calibrate: Examples) -> nn.Module:
        """The defended network, fitted where needed on held-out clean data."""
        return net

    def suspicion(self, net: nn.Module, images: Tensor) -> Tensor:
        """One score per image, higher meaning more likely adversarial.

        `net` is what `wrap` was given, or, where the defense `fits`, what it returned.
        """
        raise AttributeError(f"{self.name} does not detect")

    def abstains(self, logits: Tensor) -> Tensor:
        """Which answers are none, told by the logits alone where the defense `certifies`; they count as wrong."""
        return torch.zeros(len(logits), dtype=torch.bool, device=logits.device)

    def certify(self, net: nn.Module, images: Tensor, ids: Tensor) -> tuple[Tensor, Tensor]:
        """A class for each image, and the radius of the ball in which the answer is proved to be that class.

        `net` is what `wrap` returned, `ids` are the examples'. -1 and 0 where nothing can be proved.
        """
        raise AttributeError(f"{self.name} does not certify")


@dataclass(frozen=True)
class Dataset(Plugin):
    """Labelled images, split into a part to train on, one to calibrate on and one to judge on."""

    shape: ClassVar[tuple[int, int, int]]
    """Channels, height, width."""
    class_names: ClassVar[tuple[str, ...]]
    mirrorable: ClassVar[bool] = False
    """Whether an image mirrored left to right is still of its class, so that training may mirror it: clothes may."""
    publishable: ClassVar[bool] = True
    """Whether images and what is made of them may be shown and handed on. Where not, a run keeps no pictures and pages
    show none, `export` refuses, and `merge` leaves perturbations behind; rates, verdicts and sizes may travel."""

    @property
    def classes(self) -> int:
        return len(self.class_names)

    @abstractmethod
    def load(self, folders: DataFolders) -> Data:
        """Read the images; an AdvbenchError says what is missing and how to get it."""

    @abstractmethod
    def find(self, folders: DataFolders) -> str | None:
        """Where it would be read from, or None when it is not on this machine."""


__all__ = ["Attack", "Dataset", "Defense", "Model", "Part", "Plugin"]
