"""What a layer says about images, of any network, by the layer's name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from torch import Tensor, nn

from advbench.errors import AdvbenchError, did_you_mean


def activations(net: nn.Module, images: Tensor, names: Iterable[str]) -> dict[str, Tensor]:
    """What the named layers answer to the images; names are those of `net.named_modules()`, as `features.28`."""
    with recorded(net, names) as seen:
        net(images)
    return dict(seen)


@contextmanager
def recorded(net: nn.Module, names: Iterable[str]) -> Iterator[dict[str, Tensor]]:
    """Fills the dictionary while the network runs: one pass then gives logits and activations, differentiable.

    A layer that runs twice leaves its last answer.
    """
    wanted = list(names)
    layers = dict(net.named_modules())
    del layers[""]
    for name in wanted:
        if name not in layers:
            raise AdvbenchError(
                f"no layer {name!r}{did_you_mean(name, list(layers))}; the network has {_listed(layers)}"
            )
    seen: dict[str, Tensor] = {}

    def record(name: str, answer: object) -> None:
        if not isinstance(answer, Tensor):
            raise AdvbenchError(
                f"layer {name!r} answers with {type(answer).__name__}, not a tensor; take one inside it"
            )
        seen[name] = answer.clone()  # the next layer may write into it, as `nn.ReLU(inplace=True)` does

    hooks = [
        layers[name].register_forward_hook(lambda layer, given, answer, name=name: record(name, answer))
        for name in wanted
    ]
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()
    if missed := [name for name in wanted if name not in seen]:
        raise AdvbenchError(f"layer {missed[0]!r} takes no part in an answer; take another of {_listed(layers)}")


def feature_layer(net: nn.Module) -> str:
    """The full name of the layer that the network, or a network inside it, names as its `feature_layer`."""
    for place, module in net.named_modules():
        named = getattr(module, "feature_layer", "")
        if isinstance(named, str) and named:
            return f"{place}.{named}" if place else named
    raise AdvbenchError(
        f"{type(net).__name__} names no layer whose activations describe an image; give it an attribute "
        f"`feature_layer`, one of {_listed(dict(net.named_modules()))}"
    )


def _listed(layers: Iterable[str]) -> str:
    return ", ".join(name for name in layers if name) or "none"
