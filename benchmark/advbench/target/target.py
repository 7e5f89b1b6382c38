"""A trained model behind its defenses, ready to answer."""

from __future__ import annotations

import math
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from advbench.access import Access
from advbench.data import Data, Examples
from advbench.errors import AdvbenchError, PluginError
from advbench.plugin import Dataset, Defense, Model
from advbench.plugins.compatibility import offered
from advbench.problem.batches import PHOTO, BatchSize, run_in_batches
from advbench.problem.precision import Precision
from advbench.target.answer import DRAWS, NO_ANSWER, Answer, assembled, in_company, majority, seeded
from advbench.target.identity import TargetIdentity, TargetPlan, chain_label
from advbench.target.trial import Trial, logits_of, suspicion_of, wrapped

SAMPLE, PHOTOS = 64, 8
"""Images that tell how large a target's logits are, and whether it answers by chance; fewer where they are large."""
FLATTEST, USUAL, STEEPEST = 1 / 16, 16.0, 128.0
"""The spread from highest to lowest logit: networks trained by cross-entropy lie between the outer two."""


@dataclass
class Target:
    """A network that answers with logits and, behind a detector, with suspicion."""

    key: str
    label: str
    model: Model
    defenses: tuple[Defense, ...]
    dataset: Dataset
    net: nn.Module
    base: nn.Module
    """The model's own network, behind all defenses."""
    detector: tuple[Defense, nn.Module] | None
    threshold: float | None
    access: Access
    weights_sha256: str
    scale: float = 1.0
    """What attacks see the logits times: a power of two, so that no bit of them is lost. See `scale_of`."""
    certifier: tuple[Defense, nn.Module] | None = None
    draws: int = 1
    """How often it is asked about an image that is judged: several times where it answers by chance."""
    repeats: bool = True
    """Whether it answers the same again from the same place of torch's generators, so that verdicts can be verified."""
    steady: dict[tuple[int, Precision], bool] = field(default_factory=dict, repr=False)
    """Batch sizes that were tried in each precision, and whether numbers are the same at them; see `steadiness`."""

    @property
    def classes(self) -> int:
        return self.dataset.classes

    @property
    def networks(self) -> tuple[nn.Module, ...]:
        """Every network that answers for the target, each once, the outermost first."""
        behind = [pair[1] for pair in (self.detector, self.certifier) if pair]
        return tuple({id(net): net for net in (self.net, *behind, self.base)}.values())

    @property
    def defenses_label(self) -> str:
        return chain_label(self.defenses)

    def logits(self, images: Tensor) -> Tensor:
        return logits_of(self.label, self.net, images, self.classes)

    def suspicion(self, images: Tensor) -> Tensor:
        if self.detector is None:
            raise PluginError(f"{self.label} does not detect")
        return suspicion_of(*self.detector, images)

    def redrawn(self, images: Tensor) -> Tensor | None:
        """What the network draws of its winning class for each image; None where it draws nothing."""
        net = self.detector[1] if self.detector else self.net
        draw = getattr(net, "reconstruct", None)
        if draw is None or Access.RECONSTRUCTION not in self.model.offers:
            return None

        def winners(batch: Tensor) -> Tensor:
            redrawn: Tensor = draw(batch, net(batch).argmax(1))
            return redrawn

        return run_in_batches(winners, images, BatchSize(64))

    def abstains(self, logits: Tensor) -> Tensor | None:
        """Which of these answers are none; None where it always answers."""
        return self.certifier[0].abstains(logits) if self.certifier else None

    def certified(self, examples: Examples, device: torch.device) -> tuple[Tensor, Tensor] | None:
        """The class of each image and the radius for which it is proved, on the CPU; None without a proof."""
        if self.certifier is None:
            return None
        defense, net = self.certifier
        with torch.no_grad(), seeded("certify", device):
            predicted, radius = defense.certify(net, examples.pixels(device), examples.ids.to(device))
        due = (len(examples),)
        if predicted.shape != due or radius.shape != due or not bool((radius >= 0).all()):
            raise PluginError(f"{defense.label}: `certify` must answer a class and a radius from 0 on for every image")
        return predicted.cpu(), radius.cpu()

    def answer(self, images: Tensor, batch: BatchSize, places: Tensor | None = None) -> Answer:
        """Everything the referee wants to know, in padded batches.

        `places` are those of the images in the order of judging, which decide what a randomised target draws for them.
        """
        if self.draws == 1 or len(images) == 0:
            return self._once(images, batch)
        places = torch.arange(len(images)) if places is None else places
        answers = []
        for company, who, rows, whose in in_company(places.to(images.device)):
            drawn = []
            for draw in range(self.draws):
                with seeded(f"judge/{draw}/{company}", images.device):
                    drawn.append(self._once(images[whose], batch)[rows])
            answers.append((who, majority(drawn)))
        return assembled(answers, len(images))

    def _once(self, images: Tensor, batch: BatchSize) -> Answer:
        logits = run_in_batches(self.logits, images, batch).float()
        finite = logits.isfinite().all(1)
        refused = self.abstains(logits)
        answered = finite if refused is None else finite & ~refused
        logits = torch.where(finite.view(-1, 1), logits, 0.0)
        top = logits.topk(min(2, logits.shape[1]), dim=1)
        suspicion = run_in_batches(self.suspicion, images, batch).float() if self.detector else None
        return Answer(
            predicted=torch.where(answered, logits.argmax(1), NO_ANSWER),
            confidence=torch.where(answered, logits.softmax(1).amax(1), 0.0),
            lead=top.values[:, 0] - top.values[:, -1],
            least_likely=logits.argmin(1),
            finite=finite if suspicion is None else finite & suspicion.isfinite(),
            suspicion=suspicion,
        )


def prepare(
    plan: TargetPlan,
    data: Data,
    net: nn.Module,
    *,
    weights_sha256: str,
    origins: Mapping[str, Any],
    false_positive_rate: float | None,
    device: torch.device,
    thresholds: MutableMapping[str, float] | None = None,
) -> Target:
    """Freeze the network, put the defenses in front of it, and set the detector's threshold on held-out clean data.

    A share of false positives is needed where one of the defenses detects. A threshold that is found in `thresholds`
    under the target's key is taken from there, and one that is set is added.
    """
    net = base = _freeze(net, device)
    trial = Trial.of(data.judge, plan.dataset.classes, device)
    trial.ask(plan.model.label, net)
    detector: tuple[Defense, nn.Module] | None = None
    certifier: tuple[Defense, nn.Module] | None = None
    unseen = data
    for defense in plan.defenses:
        learning = data.calibrate
        if defense.fits:
            learning, others = halves(data.calibrate)
            unseen = replace(data, calibrate=others)
        with seeded("wrap", device):  # one that draws finds the same whatever ran before
            behind = _freeze(wrapped(defense, net, learning), device)
        trial.ask_behind(defense, behind, net)
        if defense.detects:
            if detector is not None:
                raise AdvbenchError(f"{plan.label}: two detectors; keep one of them")
            detector = (defense, behind if defense.fits else net)
            trial.suspect(*detector)
        if defense.certifies:
            certifier = (defense, behind)
        net = behind
    identity = TargetIdentity(
        plan,
        origins,
        weights_sha256,
        judge=data.judge.fingerprint,
        calibrate=data.calibrate.fingerprint,
        false_positive_rate=false_positive_rate if detector else None,
    )
    target = Target(
        key=identity.key,
        label=plan.label,
        model=plan.model,
        defenses=plan.defenses,
        dataset=plan.dataset,
        net=net,
        base=base,
        detector=detector,
        threshold=None,
        access=offered(plan.model, plan.defenses),
        weights_sha256=weights_sha256,
        certifier=certifier,
    )
    if by_chance(target, data.judge, device):
        target.draws = DRAWS
        target.key = replace(identity, draws=DRAWS).key
        target.repeats = not by_chance(target, data.judge, device, ("repeats", "repeats"))
    with seeded("prepare", device):
        known = thresholds.get(target.key) if thresholds is not None else None
        _measure(target, data, unseen, false_positive_rate, device, known)
    if thresholds is not None and target.threshold is not None:
        thresholds[target.key] = target.threshold
    return target


def _measure(
    target: Target,
    data: Data,
    unseen: Data,
    false_positive_rate: float | None,
    device: torch.device,
    known: float | None,
) -> None:
    """How large its logits are, and from which suspicion on it raises an alarm."""
    target.scale = scale_of(target, data.calibrate if len(data.calibrate) else data.judge, device)
    if target.detector:
        if false_positive_rate is None:
            raise AdvbenchError(f"{target.label}: no share of false positives to set the detector's threshold by")
        target.threshold = calibrate(target, unseen, false_positive_rate, device) if known is None else known


def by_chance(
    target: Target, examples: Examples, device: torch.device, places: tuple[str, str] = ("once", "again")
) -> bool:
    """Whether it gives two answers when asked twice, torch's generators beginning at these places."""
    few = sample(examples).pixels(device)
    answers: list[list[Tensor]] = []
    for place in places:
        with torch.no_grad(), seeded(place, device):
            answers.append(
                [ask(few) for ask in ((target.logits, target.suspicion) if target.detector else (target.logits,))]
            )
    return not all(torch.allclose(a, b, rtol=0, atol=0, equal_nan=True) for a, b in zip(*answers, strict=True))


def scale_of(target: Target, examples: Examples, device: torch.device) -> float:
    """1 for logits of a usual size; else the power of two that brings them there.

    Where logits are a million times smaller no lead would ever count as one, where they are a million times larger
    cross-entropy has no gradient left: a target would look robust for nothing but its units.
    """
    few = sample(examples)
    rows = SAMPLE if math.prod(examples.images.shape[1:]) < PHOTO else len(few)
    logits = run_in_batches(target.logits, few.pixels(device), BatchSize(rows)).double()
    spread = (logits.amax(1) - logits.amin(1)).cpu()
    spread = spread[spread.isfinite() & (spread > 0)]
    if len(spread) == 0:
        return 1.0
    usual = float(spread.median())
    return 1.0 if FLATTEST <= usual <= STEEPEST else 2.0 ** max(-100, min(100, round(math.log2(USUAL / usual))))


def sample(examples: Examples) -> Examples:
    return examples[: SAMPLE if math.prod(examples.images.shape[1:]) < PHOTO else PHOTOS]


def halves(examples: Examples) -> tuple[Examples, Examples]:
    """One to learn from, and one that nothing was learnt from."""
    middle = math.ceil(len(examples) / 2)
    return examples[:middle], examples[middle:]


def calibrate(target: Target, data: Data, false_positive_rate: float, device: torch.device) -> float:
    """The smallest seen suspicion that at most the given share of held-out clean images exceeds."""
    if len(data.calibrate) == 0:
        raise AdvbenchError(f"{target.label}: no held-out images to set the detector's threshold on")
    scores = torch.cat(
        [
            run_in_batches(target.suspicion, data.calibrate[first : first + 1024].pixels(device), BatchSize(64)).cpu()
            for first in range(0, len(data.calibrate), 1024)
        ]
    )
    if not scores.isfinite().all():
        raise PluginError(f"{target.label}: suspicion of clean images is not finite")
    place = math.ceil((1 - false_positive_rate) * len(scores)) - 1
    return float(scores.sort().values[max(0, place)])


def _freeze(net: nn.Module, device: torch.device) -> nn.Module:
    """Evaluation mode and no parameter gradients: an attack wants the input's gradient alone (-18 to -34 % a pass)."""
    return net.to(device).eval().requires_grad_(False)
