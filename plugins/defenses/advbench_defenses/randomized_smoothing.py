"""Randomized smoothing (Cohen et al., 2019, arXiv:1902.02918): a vote over noisy copies, with a proof.

The answer is the class that most of `samples` noisy copies get, or a refusal where a two-sided test can't tell it from
the second with confidence 1 - `alpha` (their PREDICT): a refusal counts as wrong. The radius around a clean image in
which the smoothed classifier can't change is σ Φ⁻¹(p), p being a lower bound, at 1 - `alpha`, on how often the class
wins among `proof` other noisy copies, the class itself chosen by 100 more (their CERTIFY; the paper draws 100,000).

Chosen here:

- Noise is a hash of the image itself, rounded to 1/4096: asked twice, the defense answers the same, and no image shares
  noise with another. Proofs draw from other noise, keyed by the example.
- Noisy copies are clipped to [0, 1], where networks are at home; smoothing a clipping network is still smoothing.
- Logits are the logarithm of the shares of votes, half a vote added to each class. Votes have no gradient: attackers
  are offered that of the logarithm of the mean softmax over the same copies (Salman et al., 2019, arXiv:1906.04584).

A proof is about the classifier that votes with infinitely many copies, and holds for each image with confidence
1 - `alpha`. Only training on noise, `noise-training+randomized-smoothing`, makes large radii.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from advbench import Access, Defense, Draws, Examples, at_least, between
from advbench_defenses.common.binomial import lower_bound, needed

CHOOSING = 100
"""Copies that choose the class which is to be proved."""
PASS = 512
"""Noisy copies in one pass of a proof."""


@dataclass(frozen=True)
class RandomizedSmoothing(Defense):
    """Votes over noisy copies of an image, refuses where the vote is close, and proves a radius in l2."""

    name = "randomized-smoothing"
    reference = "Cohen et al., 2019, arXiv:1902.02918"
    requires = Access.LOGITS
    keeps = Access.GRADIENTS | Access.SUSPICION
    certifies = "l2"
    trial = {"samples": 8, "alpha": 0.1, "proof": 50}

    sigma: float = at_least(1e-3, default=0.25)  # standard deviation of a pixel's noise
    samples: int = at_least(1, default=100)  # copies that vote on an answer
    alpha: float = between(
        1e-9, 0.5, default=0.001
    )  # chance of a wrong proof, and of a wrong answer that is no refusal
    proof: int = at_least(1, default=1000)  # copies that vote on a proof

    def wrap(self, net: nn.Module, calibrate: Examples) -> nn.Module:
        return Smoothed(net, self.sigma, self.samples)

    def abstains(self, logits: Tensor) -> Tensor:
        votes = logits.exp() * (self.samples + logits.shape[1] / 2) - 0.5
        first, second = votes.round().long().topk(2, dim=1).values.unbind(1)
        return first < needed(self.samples, self.alpha).to(logits.device)[first + second]

    def certify(self, net: nn.Module, images: Tensor, ids: Tensor) -> tuple[Tensor, Tensor]:
        assert isinstance(net, Smoothed)
        predicted, radius = [], []
        for image, own in zip(images, ids.view(-1, 1), strict=True):
            winner = int(net.counts(image, Draws(0, "randomized-smoothing/choose", own), CHOOSING).argmax())
            votes = int(net.counts(image, Draws(0, "randomized-smoothing/prove", own), self.proof)[winner])
            chance = lower_bound(votes, self.proof, self.alpha)
            predicted.append(winner if chance > 0.5 else -1)
            radius.append(self.sigma * NormalDist().inv_cdf(chance) if chance > 0.5 else 0.0)
        return torch.tensor(predicted), torch.tensor(radius, dtype=torch.float64)


class Smoothed(nn.Module):
    """The logarithm of each class's share of votes."""

    def __init__(self, net: nn.Module, sigma: float, samples: int) -> None:
        super().__init__()
        self.net, self.sigma, self.samples = net, sigma, samples

    def forward(self, images: Tensor) -> Tensor:
        draws = Draws(0, "randomized-smoothing", fingerprints(images.detach()))
        looks = []
        for _ in range(self.samples):
            noisy = self.noisy(images, draws.normal(*images.shape[1:], dtype=images.dtype))
            if noisy.requires_grad:  # a hundred graphs at once would fill the memory: each is made again when needed
                look = checkpoint(self.look, noisy, use_reentrant=False, preserve_rng_state=False)
            else:
                look = self.look(noisy)
            looks.append(look)
        shares = torch.stack(looks)
        classes = shares.shape[2]
        votes = nn.functional.one_hot(shares.detach().argmax(2), classes).sum(0).to(shares.dtype)
        soft = shares.logsumexp(0)
        hard = ((votes + 0.5) / (self.samples + classes / 2)).log()
        return hard + (soft - soft.detach())

    def look(self, noisy: Tensor) -> Tensor:
        answer: Tensor = self.net(noisy).log_softmax(1)
        return answer

    def noisy(self, images: Tensor, noise: Tensor) -> Tensor:
        return (images + self.sigma * noise).clamp(0, 1)

    def counts(self, image: Tensor, draws: Draws, copies: int) -> Tensor:
        """Votes by class of so many noisy copies of one image, on the CPU."""
        found = []
        for first in range(0, copies, PASS):
            noise = draws.normal(PASS, *image.shape, dtype=image.dtype)[0, : copies - first]
            found.append(self.net(self.noisy(image, noise)).argmax(1))
        classes = self.net(image.unsqueeze(0)).shape[1]
        return torch.cat(found).cpu().bincount(minlength=classes)


def fingerprints(images: Tensor) -> Tensor:
    """A number for each image, by its pixels to 1/4096: the same on any machine and in any batch."""
    pixels = (images * 4096).round().long().flatten(1)
    place = torch.arange(1, pixels.shape[1] + 1, device=images.device)
    # odd factors all over 64 bits, whose products and sums may wrap
    return (pixels * (2 * place * -0x61C8864680B583EB + 1)).sum(1)
