"""A density prior on features (Hitting Depth; Billovits, Eric and Agarwala, 2016).

The network's p(y|x) is multiplied by p(r|y,x), how natural the image looks for class y, and normalised over the
classes. p(r|y,x) is a kernel density estimate in an 8-dimensional code of the activations of the `feature_layer` that
the model names: principal components of the class, 128 at most, then an autoencoder of the class; see `class_codes`.

Chosen where the paper is silent or at odds with itself:

- "Seven layers" and halving from 128 to 8 and back do not agree. Here widths are halved: 128, 64, 32, 16, 8, 16, 32,
  64, 128, seven hidden layers and eight of weights. A leaky ReLU follows all but the last, the code included: that is
  why the paper wants it leaky.
- Everything is fitted on the clean images that `wrap` is given, by their labels. The last fifth of every class teaches
  neither components nor autoencoder; one bandwidth for all classes is the one under which these images are likeliest.
- The paper wants 2^8 = 256 points a class in 8 dimensions, and has as many. How many there are here is the data set's
  to say: 200 where 5,000 images are held out for ten classes, since half of them set the threshold.
- The kernel's Σ is the covariance of the class's codes times the squared bandwidth (printed without the exponent's 1/2,
  which is meant). Its determinant is left out: a code has no unit, so it would let the scale of a code decide.
- Suspicion, which the paper lacks, is -log Σ p(y|x)p(r|y,x) over the classes: what the renormalisation divides by.

Everything is in logarithms, so that no density is zero, and differentiable, so that an attacker may know all of it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from advbench import Access, AdvbenchError, Defense, Examples, activations, at_least, feature_layer, recorded
from advbench_defenses.common.class_codes import ClassCodes, fit_codes
from advbench_defenses.common.kernel_density import KernelDensity, fit_density


@dataclass(frozen=True)
class KdePrior(Defense):
    """Weighs each class with how natural the image's features are for it, and suspects what is natural for none."""

    name = "kde-prior"
    reference = "Billovits, Eric and Agarwala, 2016: Hitting Depth"
    requires = Access.LOGITS
    keeps = Access.GRADIENTS | Access.SUSPICION
    detects = True
    differentiable = True
    reads_features = True
    fits = True

    components: int = at_least(1, default=128)  # principal components of a class
    code: int = at_least(1, default=8)  # width of the autoencoder's narrowest layer
    steps: int = at_least(0, default=300)  # of Adam, on all images of a class at once
    learning_rate: float = at_least(0, default=2e-3)
    seed: int = 0  # of the autoencoders' first weights

    def wrap(self, net: nn.Module, calibrate: Examples) -> nn.Module:
        layer = feature_layer(net)
        device = next((weight.device for weight in net.parameters()), torch.device("cpu"))
        with torch.no_grad():
            parts = [calibrate[first : first + 256].pixels(device) for first in range(0, len(calibrate), 256)]
            features = torch.cat([activations(net, part, [layer])[layer].flatten(1) for part in parts])
            classes = net(parts[0][:1]).shape[1]
        groups = [(calibrate.labels == label).nonzero().flatten() for label in range(classes)]
        if absent := [label for label, group in enumerate(groups) if not len(group)]:
            raise AdvbenchError(
                f"{self.name}: none of the {len(calibrate)} held-out images it learns from is of class {absent[0]}; "
                "give the data set more images to calibrate on"
            )
        learnt = [features[group[: len(group) - len(group) // 5]] for group in groups]
        unseen = [features[group[len(group) - len(group) // 5 :]] for group in groups]
        codes = fit_codes(learnt, self.components, self.code, self.steps, self.learning_rate, self.seed)
        with torch.no_grad():
            density = fit_density(
                [codes.of(k, f) for k, f in enumerate(learnt)], [codes.of(k, f) for k, f in enumerate(unseen)]
            )
        return Posterior(net, layer, codes, density)

    def suspicion(self, net: nn.Module, images: Tensor) -> Tensor:
        assert isinstance(net, Posterior)
        return -net.joint(images).logsumexp(1)


class Posterior(nn.Module):
    """log p(y|x) p(r|y,x), normalised over the classes, as logits."""

    def __init__(self, net: nn.Module, layer: str, codes: ClassCodes, density: KernelDensity) -> None:
        super().__init__()
        self.net, self.layer, self.codes, self.density = net, layer, codes, density

    def joint(self, images: Tensor) -> Tensor:
        """(N, classes): log p(y|x) + log p(r|y,x), from one pass of the network."""
        with recorded(self.net, [self.layer]) as seen:
            logits: Tensor = self.net(images)
        return logits.log_softmax(1) + self.prior(seen[self.layer])

    def prior(self, features: Tensor) -> Tensor:
        """(N, classes): log p(r|y,x), up to a constant."""
        prior: Tensor = self.density(self.codes(features.flatten(1)))
        return prior

    def forward(self, images: Tensor) -> Tensor:
        return self.joint(images).log_softmax(1)
