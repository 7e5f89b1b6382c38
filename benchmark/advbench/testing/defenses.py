"""What every defense must do, on the kit's own network."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property, partial

import torch
from torch import Tensor, nn

from advbench.access import Access
from advbench.data import DataFolders
from advbench.draws import Draws
from advbench.plugin import Dataset, Defense
from advbench.plugins.compatibility import sides, why_unfit
from advbench.recipe import Recipe
from advbench.testing.check import Check, NotHere, demand
from advbench.testing.models import CLOSE, data_for, demand_a_trial, demand_gradient
from advbench.testing.stage import StageNet, images


class Defended:
    """The kit's network behind the defense, wrapped when it is first asked for."""

    def __init__(self, defense: Defense, dataset: Dataset, network: type[StageNet] = StageNet) -> None:
        self.defense, self.dataset, self.shape, self.network = defense, dataset, dataset.shape, network
        self.images = images(6, dataset.shape)
        self.labels = torch.arange(6) % dataset.classes

    @cached_property
    def inner(self) -> nn.Module:
        if reason := why_unfit(self.defense, self.dataset):
            raise NotHere(f"{self.defense.label}: {reason}")
        return self.network(self.shape, self.dataset.classes).eval().requires_grad_(False)

    @cached_property
    def net(self) -> nn.Module:
        before = _state(self.inner)
        calibrate = self.dataset.load(DataFolders(download=False)).calibrate
        net = self.defense.wrap(self.inner, calibrate)
        demand(isinstance(net, nn.Module), f"`wrap` returned {type(net).__name__}, not a torch.nn.Module")
        demand(_state(self.inner) == before, "`wrap` changed the network that it was given; copy it first")
        return net.eval().requires_grad_(False)

    def logits(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            answer: Tensor = self.net(x)
        return answer

    def suspicion(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            return self.defense.suspicion(self.asked, x)

    @property
    def asked(self) -> nn.Module:
        """The network that `suspicion` is asked with."""
        return self.net if self.defense.fits else self.inner


class Particular(StageNet):
    """Takes images of one shape and type only, as most networks do."""

    def forward(self, x: Tensor) -> Tensor:
        handed, due = tuple(x.shape[1:]), self.shape
        demand(
            handed == due,
            f"hands images of {sides(handed)} on to a network that is built for {sides(due)}; "
            "bring them back to their size, or refuse the data set in `why_not`",
        )
        demand(x.dtype == torch.float32, f"hands images in {x.dtype} on to a network that takes float32")
        return super().forward(x)


Trial = Callable[[Defended], str | None]


def _state(net: nn.Module) -> list[object]:
    """Everything of a network that a defense must leave as it is."""
    tensors = {**dict(net.named_parameters()), **dict(net.named_buffers())}
    modes = [module.training for module in net.modules()]
    return [
        modes,
        [(name, t.requires_grad, t.grad is None, t.detach().double().sum().item()) for name, t in tensors.items()],
    ]


def defense_checks(defense: Defense) -> Iterator[Check]:
    every = data_for(defense)
    attempts = [lambda dataset=dataset: Defended(defense, dataset).inner for dataset in every]
    yield Check(defense.label, "can-be-tried", partial(demand_a_trial, defense, attempts))
    for dataset in every:
        title = "x".join(map(str, dataset.shape))
        for what, trial in _trials(defense):
            yield Check(defense.label, f"{title}-{what}", partial(_tried, trial, defense, dataset))


def _tried(trial: Trial, defense: Defense, dataset: Dataset) -> str | None:
    """On a network of its own, so that what one check finds spoilt does not spoil the next."""
    return trial(Defended(defense, dataset))


def _trials(defense: Defense) -> Iterator[tuple[str, Trial]]:
    yield "answers-with-logits", answers_with_logits
    yield "hands-on-what-the-network-takes", hands_on_what_the_network_takes
    yield "leaves-images-alone", leaves_images_alone
    yield "does-not-look-at-the-neighbours", does_not_look_at_the_neighbours
    if Access.GRADIENTS in defense.keeps:
        yield "keeps-the-gradients-it-says", keeps_gradients
    if defense.detects:
        yield "suspects-each-image", suspects_each_image
        if defense.differentiable:
            yield "suspicion-is-differentiable", suspicion_is_differentiable
    if defense.certifies:
        yield "proves-radii-and-refuses-by-logits", proves_radii
    if defense.trains:
        yield "trains-on-batches-of-images", trains_on_batches_of_images
        yield "training-repeats-and-leaves-the-network-alone", training_repeats


def answers_with_logits(defended: Defended) -> None:
    logits = defended.logits(defended.images)
    due = (len(defended.images), defended.dataset.classes)
    demand(isinstance(logits, Tensor), f"answers with {type(logits).__name__}; return the logits alone")
    demand(logits.shape == due, f"answers {tuple(logits.shape)} for {due[0]} images of {due[1]} classes")
    demand(bool(logits.isfinite().all()), "logits are not finite")


def hands_on_what_the_network_takes(defended: Defended) -> None:
    particular = Defended(defended.defense, defended.dataset, Particular)
    particular.logits(particular.images)
    if particular.defense.detects:
        particular.suspicion(particular.images)
    if particular.defense.certifies:
        with torch.no_grad():
            particular.defense.certify(particular.net, particular.images, torch.arange(6))


def leaves_images_alone(defended: Defended) -> None:
    x = defended.images.clone()
    defended.logits(x)
    if defended.defense.detects:
        defended.suspicion(x)
    demand(torch.equal(x, defended.images), "writes into the images; use operations that are not in place")


def does_not_look_at_the_neighbours(defended: Defended) -> str | None:
    x = defended.images
    together = defended.logits(x)
    if not torch.equal(together, defended.logits(x)):
        return "answers differ from one time to the next: its targets will be marked as randomised"
    alone = torch.cat([defended.logits(image.unsqueeze(0)) for image in x])
    moved = float((together - alone).abs().max() / together.abs().max().clamp_min(1))
    demand(moved <= CLOSE, f"logits move by {moved:.2g} with the images around; treat every image by itself")
    return None


def keeps_gradients(defended: Defended) -> None:
    claim = "declares `keeps` with GRADIENTS (keeps = Access.LOGITS hides them)"
    demand_gradient(lambda x: defended.net(x), defended.images, claim)


def suspects_each_image(defended: Defended) -> str | None:
    score = defended.suspicion(defended.images)
    demand(isinstance(score, Tensor), f"`suspicion` answers {type(score).__name__}, not a tensor")
    demand(score.shape == (6,), f"`suspicion` answers {tuple(score.shape)} for 6 images; one score each is due")
    demand(score.is_floating_point() and bool(score.isfinite().all()), "suspicion is not a finite number")
    alone = torch.cat([defended.suspicion(image.unsqueeze(0)) for image in defended.images])
    moved = float((score - alone).abs().max() / score.abs().max().clamp_min(1e-12))
    repeated = torch.equal(score, defended.suspicion(defended.images))
    demand(not repeated or moved <= 10 * CLOSE, f"suspicion moves by {moved:.2g} with the images around")
    return "suspicion is the same for all of the kit's images" if float(score.max() - score.min()) == 0 else None


def suspicion_is_differentiable(defended: Defended) -> None:
    asked = defended.asked
    demand_gradient(lambda x: defended.defense.suspicion(asked, x), defended.images, "declares `differentiable`")


def proves_radii(defended: Defended) -> None:
    x, ids = defended.images, torch.arange(len(defended.images))
    refused = defended.defense.abstains(defended.logits(x))
    demand(refused.shape == (6,) and refused.dtype == torch.bool, "`abstains` must answer true or false for each row")
    with torch.no_grad():
        predicted, radius = defended.defense.certify(defended.net, x, ids)
        again = defended.defense.certify(defended.net, x[2:4], ids[2:4])
    demand(predicted.shape == radius.shape == (6,), "`certify` must answer a class and a radius for each image")
    known = (predicted >= -1) & (predicted < defended.dataset.classes)
    demand(bool(known.all()), "`certify` answered classes that are none; -1 stands for nothing proved")
    demand(bool((radius >= 0).all() and radius.isfinite().all()), "`certify` answered radii that are none")
    demand(bool((radius[predicted < 0] == 0).all()), "`certify` answered a radius without a class; it must be 0")
    same = torch.equal(predicted[2:4], again[0]) and torch.equal(radius[2:4], again[1])
    demand(same, "`certify` answers otherwise in other company; draw by the example's id alone")


def _batch(defended: Defended, progress: float) -> tuple[Tensor, Tensor]:
    draws = Draws(0, f"train/{defended.defense.label}/0", torch.arange(6))
    return defended.defense.training_batch(
        defended.inner, defended.images.clone(), defended.labels.clone(), draws, progress
    )


def trains_on_batches_of_images(defended: Defended) -> None:
    defended.inner  # noqa: B018  raises NotHere where the data set is not served
    demand(isinstance(defended.defense.training_recipe(Recipe()), Recipe), "`training_recipe` must return a Recipe")
    for progress in (0.0, 0.5, 1.0):
        x, labels = _batch(defended, progress)
        due = x.shape[1:] == defended.shape and len(x) == len(labels) > 0
        demand(due, f"`training_batch` returned images {tuple(x.shape)} and {len(labels)} labels")
        demand(x.dtype == torch.float32, f"`training_batch` returned images in {x.dtype}, not float32")
        demand(bool(((x >= 0) & (x <= 1)).all()), "`training_batch` returned pixels outside [0, 1]; clamp them")
        known = bool(((labels >= 0) & (labels < defended.dataset.classes)).all())
        demand(labels.dtype == torch.int64 and known, "`training_batch` returned labels that are no class")
        demand(not x.requires_grad, "`training_batch` returned images with a graph behind them; detach them")


def training_repeats(defended: Defended) -> None:
    before = _state(defended.inner)
    x, labels = defended.images.clone(), defended.labels.clone()
    draws = Draws(0, f"train/{defended.defense.label}/0", torch.arange(6))
    first = defended.defense.training_batch(defended.inner, x, labels, draws, 1.0)
    untouched = torch.equal(x, defended.images) and torch.equal(labels, defended.labels)
    demand(untouched, "`training_batch` wrote into the batch; return another")
    demand(_state(defended.inner) == before, "`training_batch` left the network with other gradients, weights or mode")
    again = _batch(defended, 1.0)
    same = torch.equal(first[0], again[0]) and torch.equal(first[1], again[1])
    demand(same, "two equal calls of `training_batch` differ; draw from `draws` alone")
