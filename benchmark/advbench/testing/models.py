"""What every model must do, on every data set that it says it serves."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import cached_property, partial

import safetensors.torch
import torch
from torch import Tensor, nn

from advbench.access import Access
from advbench.errors import AdvbenchError, NotInstalledError, PluginError
from advbench.layers import activations, feature_layer
from advbench.plugin import Dataset, Model, Part
from advbench.plugins.compatibility import sides, why_unfit
from advbench.recipe import Recipe
from advbench.testing.check import Check, NotHere, demand
from advbench.testing.stage import data_of, images

SHAPES = ((1, 28, 28), (3, 32, 32))
CLASSES = 10
"""What is tried with whoever declares no shape and no number of classes of its own."""
CLOSE = 1e-4
"""How far logits may move with the batch around an image, relative to the largest of them."""


def data_for(part: Part) -> list[Dataset]:
    """The kit's data sets that a model or a defense is tried on."""
    return [data_of(shape, part.classes or CLASSES) for shape in ([part.shape] if part.shape else SHAPES)]


def demand_a_trial(part: Part, attempts: Iterable[Callable[[], object]]) -> None:
    """That it serves one data set at least: who refuses all of them has not been tried, and has not passed.

    Whose optional package is not installed here is left out.
    """
    reasons = []
    for attempt in attempts:
        try:
            attempt()
        except NotHere as error:
            if isinstance(error.__cause__, NotInstalledError):
                raise
            reasons.append(str(error).removeprefix(f"{part.label}: "))
        else:
            return
    tried = " and ".join(f"{sides(d.shape)} in {d.classes:,} classes" for d in data_for(part))
    remedy = "where it takes other images, declare so: `shape = (3, 224, 224)`, `classes = 1000`"
    demand(False, f"nothing could be tried on images of {tried}: {'; '.join(dict.fromkeys(reasons))}; {remedy}")


class Built:
    """A model's network on one of the kit's data sets, built when it is first asked for."""

    def __init__(self, model: Model, dataset: Dataset) -> None:
        self.model, self.dataset, self.shape = model, dataset, dataset.shape
        self.images = images(6, dataset.shape)

    def fresh(self) -> nn.Module:
        if reason := why_unfit(self.model, self.dataset):
            raise NotHere(f"{self.model.label}: {reason}")
        try:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(0)
                net = self.model.build(self.dataset)
        except PluginError:
            raise
        except AdvbenchError as error:
            raise NotHere(f"{self.model.label}: {str(error).removeprefix(f'{self.model.label}: ')}") from error
        demand(isinstance(net, nn.Module), f"`build` returned {type(net).__name__}, not a torch.nn.Module")
        return net

    @cached_property
    def net(self) -> nn.Module:
        return self.fresh().eval().requires_grad_(False)

    def logits(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            answer: Tensor = self.net(x)
        return answer


def model_checks(model: Model) -> Iterator[Check]:
    every = [Built(model, dataset) for dataset in data_for(model)]
    attempts = [partial(getattr, built, "net") for built in every]
    yield Check(model.label, "can-be-tried", partial(demand_a_trial, model, attempts))
    for built in every:
        title = "x".join(map(str, built.shape))
        for what, trial in TRIALS.items():
            yield Check(model.label, f"{title}-{what}", partial(trial, built))
        if Access.GRADIENTS in model.offers:
            yield Check(model.label, f"{title}-has-the-gradients-it-offers", partial(has_gradients, built))
        if model.feature_layer:
            yield Check(model.label, f"{title}-has-the-feature-layer-it-names", partial(has_its_feature_layer, built))
        if Access.RECONSTRUCTION in model.offers:
            yield Check(model.label, f"{title}-reconstructs-images", partial(reconstructs, built))


def answers_with_logits(built: Built) -> None:
    logits = built.net(built.images)
    due = (len(built.images), built.dataset.classes)
    demand(isinstance(logits, Tensor), f"answers with {type(logits).__name__}; return the logits alone")
    demand(logits.shape == due, f"answers {tuple(logits.shape)} for {due[0]} images of {due[1]} classes")
    demand(logits.dtype == torch.float32, f"answers in {logits.dtype}; return float32")


def is_finite_on_all_of_0_to_1(built: Built) -> None:
    extremes = torch.cat([torch.zeros(1, *built.shape), torch.ones(1, *built.shape), built.images])
    demand(bool(built.logits(extremes).isfinite().all()), "logits of images in [0, 1] are not finite; normalise inside")


def answers_twice_alike(built: Built) -> None:
    first, second = built.logits(built.images), built.logits(built.images)
    demand(torch.equal(first, second), "in eval mode two answers to one image differ; is dropout or noise still on?")


def does_not_look_at_the_neighbours(built: Built) -> None:
    together = built.logits(built.images)
    alone = torch.cat([built.logits(image.unsqueeze(0)) for image in built.images])
    moved = float((together - alone).abs().max() / together.abs().max().clamp_min(1))
    demand(moved <= CLOSE, f"logits move by {moved:.2g} with the images around; use no statistics of the batch")


def leaves_images_alone(built: Built) -> None:
    x = built.images.clone()
    built.logits(x)
    demand(torch.equal(x, built.images), "writes into the images; use operations that are not in place")


def survives_safetensors(built: Built) -> None:
    state = {name: value.contiguous().clone() for name, value in built.net.state_dict().items()}
    read = safetensors.torch.load(safetensors.torch.save(state))
    other = built.fresh()
    if state:
        with torch.no_grad():
            for parameter in other.parameters():
                parameter.zero_()
    other.load_state_dict(read)
    with torch.no_grad():
        same = torch.equal(other.eval()(built.images), built.logits(built.images))
    demand(same, "another network with the same weights answers otherwise; keep all state in parameters and buffers")


def has_a_recipe(built: Built) -> None:
    built.net  # noqa: B018  raises NotHere where the data set is not served
    recipe = built.model.recipe(built.dataset)
    demand(recipe is None or isinstance(recipe, Recipe), f"`recipe` returned {type(recipe).__name__}, not a Recipe")
    if recipe is None:
        return
    net = built.fresh().train()
    labels = torch.arange(len(built.images)) % built.dataset.classes
    loss = built.model.loss(net, built.images, labels)
    demand(loss.shape == () and bool(loss.isfinite()), "`loss` must be one finite number, the mean over the batch")
    loss.backward()  # type: ignore[no-untyped-call]
    reached = [parameter.grad for parameter in net.parameters() if parameter.grad is not None]
    demand(bool(reached), "no weight has a gradient of `loss`, so nothing would be learnt")
    demand(all(bool(g.isfinite().all()) for g in reached), "the gradient of `loss` is not finite")


def has_its_feature_layer(built: Built) -> None:
    named = built.model.feature_layer
    found = feature_layer(built.net)
    demand(
        found == named, f"declares the feature layer {named!r}, and its network has {found!r}; name one and the same"
    )
    features = activations(built.net, built.images, [found])[found]
    demand(
        len(features) == len(built.images), f"layer {found!r} answers {tuple(features.shape)}; one row an image is due"
    )


def has_gradients(built: Built) -> None:
    demand_gradient(lambda x: built.net(x), built.images, "offers gradients")


def demand_gradient(answer: Callable[[Tensor], Tensor], x: Tensor, claim: str) -> None:
    x = x.clone().requires_grad_()
    value = answer(x)
    demand(value.requires_grad, f"{claim}, but its answer is cut off from the image (detach, no_grad, argmax, numpy?)")
    # weighted, for a sum over logits may be the same for every image
    weights = torch.linspace(-1, 1, value.numel()).view_as(value)
    (gradient,) = torch.autograd.grad((value * weights).sum(), x)
    demand(bool(gradient.isfinite().all()), f"{claim}, but they are not finite")
    demand(bool(gradient.any()), f"{claim}, but they are zero everywhere (rounding, thresholds?)")


def reconstructs(built: Built) -> None:
    net = built.net
    method = getattr(net, "reconstruct", None)
    if method is None:
        raise AssertionError("offers RECONSTRUCTION; give its network a method `reconstruct(images, classes)`")
    with torch.no_grad():
        redrawn = method(built.images, torch.arange(len(built.images)) % built.dataset.classes)
    demand(redrawn.shape == built.images.shape, f"`reconstruct` answers {tuple(redrawn.shape)}, not images")
    inside = bool(((redrawn >= 0) & (redrawn <= 1)).all())
    demand(inside, "`reconstruct` leaves [0, 1]; end with a sigmoid or a clamp")


TRIALS: dict[str, Callable[[Built], None]] = {
    "answers-with-logits": answers_with_logits,
    "is-finite-on-all-of-0-to-1": is_finite_on_all_of_0_to_1,
    "answers-twice-alike": answers_twice_alike,
    "does-not-look-at-the-neighbours": does_not_look_at_the_neighbours,
    "leaves-images-alone": leaves_images_alone,
    "survives-safetensors": survives_safetensors,
    "has-a-recipe": has_a_recipe,
}
