"""Which attack may meet which target in which ball, and why not: pure functions of what plugins declare."""

from __future__ import annotations

from advbench.access import Access
from advbench.errors import PluginError
from advbench.plugin import Attack, Dataset, Defense, Model, Part
from advbench.plugins.foreign import attributed
from advbench.threats import Threat


def offered(model: Model, defenses: tuple[Defense, ...]) -> Access:
    """What an attacker may learn from the model behind its defenses."""
    access = model.offers
    for defense in defenses:
        access &= defense.keeps
        if defense.detects and defense.differentiable:
            access |= Access.SUSPICION
    return access


def knowledge(attack: Attack) -> str:
    """What an attack is told, in words: of the target, and beside it."""
    return f"{attack.needs.words}, held-out images" if attack.uses_bank else attack.needs.words


def why_unfit(part: Part, dataset: Dataset) -> str | None:
    """A reason why a model or a defense can't serve the data set, by what it declares or says; or None."""
    if part.shape is not None and part.shape != dataset.shape:
        return f"it takes images of {sides(part.shape)}, and those of {dataset.label} are {sides(dataset.shape)}"
    if part.classes is not None and part.classes != dataset.classes:
        return f"it knows {part.classes:,} classes, and {dataset.label} has {dataset.classes:,}"
    with attributed(f"{part.label}: `why_not` failed"):
        reason: object = part.why_not(dataset)
    if reason is not None and not isinstance(reason, str):
        raise PluginError(f"{part.label}: `why_not` returned {type(reason).__name__}, not a text or None")
    return reason


def sides(shape: tuple[int, ...]) -> str:
    """A shape as a reader writes it: 3 x 32 x 32."""
    return " x ".join(map(str, shape))


def why_no_target(model: Model, defenses: tuple[Defense, ...], dataset: Dataset) -> str | None:
    """A reason why this target makes no sense, or None."""
    if reason := why_unfit(model, dataset):
        return f"{model.label}: {reason}"
    access = model.offers
    for place, defense in enumerate(defenses):
        earlier = defenses[:place]
        if reason := why_unfit(defense, dataset):
            return f"{defense.label}: {reason}"
        if defense.trains and (model.weights or model.recipe(dataset) is None):
            return (
                f"{defense.label} changes training, but {model.label} comes with weights of its own: "
                "take one that is trained here, without weights=…"
            )
        if defense.trains and (late := [one for one in earlier if not (one.trains or one.trained_behind)]):
            return f"{defense.label} changes training and must come before {late[0].label}"
        if type(defense).wrap is not Defense.wrap and (proved := [one for one in earlier if one.certifies]):
            return f"{defense.label} changes answers and must come before {proved[0].label}, which proves its own"
        if lacking := defense.requires.lacking(access):
            hides = [one for one in earlier if defense.requires.lacking(one.keeps)]
            if hides and not defense.requires.lacking(model.offers):
                return f"{defense.label} needs {lacking}, which {hides[0].label} hides: write {defense.label} before it"
            return f"{defense.label} needs {lacking}, which {model.label} does not offer: take a model that does"
        if defense.reads_features and not model.feature_layer:
            return f"{defense.label} needs a feature layer, which {model.label} does not name: take a model that does"
        access &= defense.keeps
    if len(detectors := [defense.label for defense in defenses if defense.detects]) > 1:
        return f"two detectors, {detectors[0]} and {detectors[1]}: keep one of them"
    return None


def why_never(attack: Attack, threat: Threat, goal: str) -> str | None:
    """A reason why the attack can't serve this ball and goal, whatever the target, or None."""
    if not attack.searches(threat):
        return f"{attack.name} does not search {threat.name} balls"
    if goal != "untargeted" and not attack.targeted:
        return f"{attack.name} can't aim at a class"
    if attack.minimizes and not threat.unbounded:
        return f"{attack.name} looks for the smallest perturbation, and {threat.name} has no unbounded ball"
    if attack.scope == "set" and not threat.shareable:
        return f"{attack.name} looks for one perturbation for all images, and in {threat.name} each has its own"
    if attack.scope == "set" and goal in ("random", "least-likely"):
        return f"{attack.name} looks for one perturbation for all images, and {goal} is another class for each"
    return None


def why_not(attack: Attack, threat: Threat, goal: str, model: Model, defenses: tuple[Defense, ...]) -> str | None:
    """A reason to skip this combination, or None to run it."""
    if reason := why_never(attack, threat, goal):
        return reason
    if lacking := attack.needs.lacking(offered(model, defenses)):
        return f"{attack.name} needs {lacking}, which the target does not offer"
    return None
