"""The page, in the order of the paper."""

from __future__ import annotations

from advbench import Chart, Gallery, Level, Missing, Ours, Section, Table
from advbench_studies.billovits2016.analyses import (
    BEHIND_PRIOR,
    OF_PATTERNS,
    ON_PHOTOS,
    RATES,
    depth_of_digits,
    depth_of_photos,
    mitigated,
    one_step,
)
from advbench_studies.billovits2016.suites import SIZES

ABSTRACT = """
The authors take one step along the sign of the gradient on photos of ImageNet, sort what becomes of them by eye into
four kinds, look at where in a VGG network the change grows, show that evolved patterns which one network is sure of
carry over badly to another, and propose a density prior on features that corrects four fifths of the confident
adversarial examples. They conclude that deep networks are less susceptible than shallow ones.
"""
PHOTOGRAPHS = (
    "pictures of photos, which may not be published here; how often each kind comes is counted in section 4.4 below"
)


def sections(level: Level) -> tuple[Section, ...]:
    photos, digits, _ = SIZES[level]
    ours = one_step(level)
    return (
        Section(
            "2 and 4.2: patterns that a network is sure of",
            "Rubbish climbs from noise by gradients, patterns are evolved by a pattern-producing network; both aim "
            "at a class drawn at random, on two networks for digits in place of AlexNet and VGG on ImageNet. Each "
            "set is then asked of the other network.\n\nThe images are the first that were judged, not chosen.",
            (
                Table("text-section-2"),
                Ours("On a second network", OF_PATTERNS),
                Table("Figure 1"),
                Gallery("Figure 1", OF_PATTERNS, ("cppn*",), "What evolved patterns are taken for."),
            ),
        ),
        Section(
            "4.4: one step on photos",
            f"EfficientNet-Lite0 with its published weights in place of VGG-19, on {photos} photos in place of "
            "50,000; eps is 0.85 on the scale of 255 grey levels, the reading under which the change can't be seen. "
            "The step is taken against the true label, also on photos that are wrong when clean.\n\nThe paper counts "
            "3,730 of 50,000 and calls them images with an adversarial example; they are those with a confidence "
            "above 50 percent. Both counts are given: *changed*, and *changed, above 50 %*.\n\nKinds are told by "
            "labels alone: benign, wrong before and right after; conatural, to a class of the same group of mutual "
            "confusion; re-focused, to one of the clean top five; true adversarial, the rest. WordNet is not at "
            "hand: groups come from the last layer's weights. That a label is in the clean top five stands in for "
            "its being in the picture.",
            (
                Table("Figure 6"),
                Chart(
                    "Figure 6",
                    ours,
                    x="clean confidence, percent",
                    y="images",
                    kind="bars",
                    caption="Clean confidences of photos with a sure, with some, and without adversarial counterpart.",
                ),
                Ours("One step: counts, kinds, and shares by clean confidence", ours),
                Ours("By the referee, and under a stronger attack", ON_PHOTOS),
                Table("text-section-4.4"),
                *(Missing(f"Figure {number}", PHOTOGRAPHS) for number in (2, 3, 4, 5)),
            ),
        ),
        Section(
            "5: where the difference grows",
            "The difference of activations between clean and adversarial images, as a root mean square (absolute) "
            "and as a share of the clean activations' length (relative), means over images. Absolute differences of "
            "layers of different scale compare little; the relative ones say where the change grows.\n\nFilters are "
            f"shown for digits ({min(digits, 500)} of them, eps 0.1, `vgg-small`): photos may not be published.",
            (
                Chart("Figure 7", depth_of_photos(level), ("absolute",), x="layer, by depth", y="root mean square"),
                Chart("Figure 7", depth_of_photos(level), ("relative",), x="layer, by depth", y="share of the length"),
                Ours("EfficientNet-Lite0, by layer", depth_of_photos(level)),
                Chart("Figure 8", depth_of_digits(level), x="layer, by depth", y="difference"),
                Gallery("Figure 8", depth_of_digits(level), caption="The filter that moved most, at three depths."),
                Ours("vgg-small on digits, by layer", depth_of_digits(level)),
            ),
        ),
        Section(
            "6 and 7: the density prior",
            "A hundred photos can't fit a density for a thousand classes, so the prior is fitted on held-out digits "
            "behind `vgg-small`. The paper does not say when an image counts as mitigated: three readings. Below, "
            "the same against one who takes the step through the posterior, and the referee's counts.",
            (
                Table("text-section-7"),
                Ours("Corrected, against one who does not know the prior", mitigated(level)),
                Ours("Corrected, against one who knows it", mitigated(level, aware=True)),
                Ours("By the referee", BEHIND_PRIOR),
                Missing("Figure 9", "a drawing of the architecture, without numbers"),
                Table("Figure 10"),
                Table("Figure 11"),
                Table("Figure 12"),
            ),
        ),
        Section(
            "7: depth and dropout",
            "Networks for digits at equal eps: one linear layer, nine layers with and without dropout, and eight with "
            f"batch normalisation; {digits} digits. The paper compares photos under eps 0.0033 with digits under 0.25.",
            (Ours("Rates by network, attack and radius", RATES),),
        ),
    )
