"""The page in the order of the paper, with settings and numbers of images at every table."""

from __future__ import annotations

from advbench import Chart, Gallery, Level, Missing, Ours, Rates, Section, Table
from advbench_studies.michels2019.bindings import ATTACKS, accuracies, anew, ensemble, kinds, stronger, universals
from advbench_studies.michels2019.figure1 import Triptychs
from advbench_studies.michels2019.kinds import Kin
from advbench_studies.michels2019.networks import DATASETS, KIN, KINDS, other
from advbench_studies.michels2019.reaches import Reaches
from advbench_studies.michels2019.readings import Readings, digest
from advbench_studies.michels2019.smallest import Smallest
from advbench_studies.michels2019.suites import BRENDEL_BETHGE, DEEPFOOL, ENSEMBLE, FMN, FROM, SIZES, radii
from advbench_studies.michels2019.universals import Strides

Shown = Table | Chart | Gallery | Ours | Missing

ABSTRACT = (
    "The paper asks whether capsule networks resist attacks better than convolutional ones. On four data sets it "
    "trains a network of each kind to the same accuracy and attacks both in four ways: Carlini and Wagner's attack "
    "towards a random class, the boundary attack, DeepFool, and one perturbation for all images. It reports the mean "
    "l2 norms, and how often what was made for one network fools the other. It concludes that capsule networks are "
    "not in general harder to fool, that perturbations pass from one kind to the other, and that those for all "
    "images differ in kind."
)


def sections(level: Level) -> tuple[Section, ...]:
    return (
        _networks(level),
        _norms(level),
        _transfer(level),
        _figure_1(level),
        _figure_2(level),
        _stronger(level),
        _open(level),
    )


def _names(level: Level) -> dict[str, str]:
    """Our names of data sets by the paper's, of the level."""
    return {title: own for title, own in DATASETS.items() if own in SIZES[level].datasets}


def _counted(images: int | None) -> str:
    return "all test images" if images is None else f"{images:,} test images"


def _networks(level: Level) -> Section:
    sizes = SIZES[level]
    text = (
        "The paper names the capsule layers of each network and no layer of its ConvNets. Here `capsnet` has the "
        "paper's layers and `convnet` is three blocks of two convolutions with batch normalisation and dropout, as the "
        "paper says. On SVHN and CIFAR-10 the paper's networks are `capsnet` and `dcnet`.\n\n"
        f"Clean accuracy on {_counted(sizes.tested)}, in percent. Below it, how far the two networks lie apart on the "
        "same images, in points."
    )
    gaps = [
        Ours(f"How alike the networks are on {title}", accuracies(level, own)) for title, own in _names(level).items()
    ]
    return Section("4.1 Networks, and 4.2: how accurate they are", text, (Table("Table 3", "dataset"), *gaps))


def _norms(level: Level) -> Section:
    sizes = SIZES[level]
    text = (
        "Mean l2 norms of perturbations, pixels from 0 to 1. Images that a network gets wrong when clean are left "
        "out: the paper does not say what it does with them, and leaving their label costs nothing. Attacks of "
        "single images have no radius, so that means are over successes.\n\n"
        f"CW: `{sizes.cw}` towards a random class on {sizes.cw_images:,} images (paper: κ = 1 and 500 images, as here "
        f"at level `paper`; it gives no steps). Boundary: `{sizes.boundary}` on {sizes.images:,} images (paper: "
        f"1,000; it gives no number of queries). DeepFool: `{DEEPFOOL}` on {sizes.images:,} images (paper: 1,000), "
        "which ends at the first point across a boundary; the paper restricts the norm of a step and does not say to "
        "how much, here to a root mean square of 0.02 over the pixels. Images are "
        f"{FROM} (paper: drawn at random).\n\n"
        f"Universal: {sizes.parts} perturbations from as many parts of {_counted(sizes.universal_images)} (paper: ten "
        "parts of the test set), each the sum of mean FGSM steps of a batch of up to 100 images that are still "
        f"right, until less than half are right or {sizes.steps} steps are made. The paper does not give the length "
        f"of an FGSM step: here about {0.011 * sizes.coarse:.2g} a pixel, {2.7 * sizes.coarse:.0f} of 255 grey "
        "levels; what longer steps do stands at the end of this page. `own part` says how many images of its part a "
        "perturbation leaves right, and `below half` how many of the perturbations got there: norms, and the rates "
        "of table 2, are of these."
    )
    shows: list[Shown] = [Table("Table 1", "dataset")]
    for title, own in _names(level).items():
        named = [f"{what} · {kind}" for what in ("own part", "below half", "largest pixel") for kind in KINDS]
        shows.append(Ours(f"Universal perturbations on {title}", universals(level, own), tuple(named)))
    return Section("4.2 Norms", text, tuple(shows))


def _transfer(level: Level) -> Section:
    text = (
        "Of the successes on one network, the share that reaches its goal on the other, too: with CW the target class, "
        "with the others any wrong class. Images that the other network gets wrong when clean count: in the paper each "
        "of the 16 rates of Boundary and DeepFool is at least as large as the network's clean error in table 3, as it "
        "must be when they count. Below, the share among images that the other network gets right when clean.\n\n"
        "The table does not say whether a row is the network that is asked or the one that was attacked, and its "
        "caption calls the numbers of the universal attack accuracies. The text (perturbations of the ConvNet pass to "
        "the CapsNet better than back) fits two readings. A: a row is the network that is asked, and universal numbers "
        "are shares of wrong images. B: a row is the network that was attacked, and universal numbers are accuracies. "
        "The table is shown in reading A; B follows, and how far the printed numbers are from ours in each.\n\n"
        "Universal perturbations are large. So there is noise beside them: random signs as long as each of them, and "
        "the share of images right when clean that it turns."
    )
    shows: list[Shown] = [Table("Table 2", "dataset")]
    for title, own in _names(level).items():
        readings = Readings(dataset=own, paper=digest())
        shows.append(
            Chart(
                "Table 2",
                readings,
                x="printed, percent",
                y="ours, percent",
                kind="marks",
                caption=f"Table 2 on {title}: what is printed and what was measured, in both readings.",
            )
        )
        shows.append(Ours(f"Table 2 on {title} in both readings", readings))
        rates = [anew(level, own, attack, source, other(source)) for attack in ATTACKS for source in KINDS]
        shows.append(
            Ours(
                f"Fooled on {title}, of images that the other network gets right when clean",
                rates[0].analysis,
                tuple(rate.finding for rate in rates),
            )
        )
        pairs = [f"{source} on {judge}" for source in KINDS for judge in KINDS]
        named = [f"{what} · {pair}" for what in ("fooled", "noise") for pair in pairs]
        shows.append(
            Ours(f"The same of universal perturbations and of noise on {title}", universals(level, own), tuple(named))
        )
    return Section("4.2 Transfer", text, tuple(shows))


def _figure_1(level: Level) -> Section:
    text = (
        "The paper shows photos of CIFAR-10 without saying which attack changed them. Here two images for each attack "
        "on the capsule network, drawn by chance from its successes, with the label, the answer and the norm. Of the "
        "perturbation grey is no change."
    )
    shows: list[Shown] = [
        Gallery("Figure 1", Triptychs(dataset=own), caption=f"{title}: image, adversarial image, perturbation.")
        for title, own in _names(level).items()
    ]
    if "cifar10" not in SIZES[level].datasets:
        shows.append(Missing("Figure 1", "CIFAR-10, which the paper shows: no networks ship for it."))
    return Section("4.2 What can be seen", text, tuple(shows))


def _figure_2(level: Level) -> Section:
    sizes = SIZES[level]
    text = (
        f"The {2 * sizes.parts} universal perturbations of a data set in the plane, by exact t-SNE of perplexity "
        f"{min(5.0, 2 * sizes.parts / 3):.3g}; the paper gives no perplexity, and does not say on which data set its "
        "figure was made.\n\n"
        "A picture of few points can show clusters of anything. So the cosines stand beside it: within a network, "
        "between the two, and the difference with an interval for which each part of the images is left out in turn; "
        "and which share of all divisions of these perturbations into two groups lie as far apart. The control asks "
        f"whether it is the architecture or just the network: `{KIN[KINDS[0]]}` is another convolutional network for "
        f"MNIST, and `{KIN[KINDS[1]]}` another capsule network. The "
        "second verdict on the last claim but one is that control's."
    )
    shows: list[Shown] = []
    for title, own in _names(level).items():
        found = kinds(level, own)
        shows += [
            Chart("Figure 2", found, series=KINDS, kind="marks", caption=f"{title}: universal perturbations, t-SNE."),
            Ours(f"Cosines of universal perturbations on {title}", found),
            Gallery("Figure 2", found, caption=f"{title}: universal perturbations of the first two parts."),
        ]
    return Section(
        "4.3 Universal perturbations", text, (*shows, Ours("Cosines between four networks, two of a kind", Kin()))
    )


def _stronger(level: Level) -> Section:
    sizes = SIZES[level]
    balls = ", ".join(f"{ENSEMBLE[own]:g} on {title}" for title, own in _names(level).items())
    tried = "; ".join(
        f"{', '.join(f'{radius:g}' for radius in radii(level, own))} on {title}" for title, own in _names(level).items()
    )
    text = (
        f"The second verdict on a claim is that under these: {' and '.join(f'`{one}`' for one in sizes.strong)}, "
        "which look for the smallest perturbation, untargeted, the latter also towards a random class, on "
        f"{sizes.strong_images:,} images; `{sizes.ensemble}` in l2 {balls}, on {sizes.ensemble_images:,} images; "
        f"`universal-pgd`, {sizes.epochs} passes over {_counted(sizes.universal_images)}, in l2 {tried}. Smallest "
        "perturbations are compared on the images that both networks get right when clean, over all attacks that "
        "leave the label."
    )
    shows: list[Shown] = []
    for title, own in _names(level).items():
        shows += [
            Ours(f"Smallest perturbations on {title}", Smallest(dataset=own)),
            Ours(f"Stronger attacks on images one by one, {title}", Rates(suite=own), _strong_findings(level, own)),
            Ours(f"universal-pgd by radius, {title}", Reaches(dataset=own)),
        ]
    return Section("Under stronger attacks", text, tuple(shows))


def _strong_findings(level: Level, dataset: str) -> tuple[str, ...]:
    """Mean norms of the attacks that look for the smallest perturbation, their transfer, and what autoattack turns."""
    found: list[str] = []
    for kind in KINDS:
        for place, goal in ((FMN, "untargeted"), (BRENDEL_BETHGE, "untargeted"), (BRENDEL_BETHGE, "random")):
            found += [stronger("size", level, dataset, place, kind, goal=goal).finding]
            found += [stronger("transferred", level, dataset, place, kind, goal=goal, asked=other(kind)).finding]
        found += [ensemble(level, dataset, kind).finding]
    return tuple(found)


def _open(level: Level) -> Section:
    longer = " and ".join(str(times) for times in SIZES[level].longer)
    text = (
        "What the paper does not say can decide its numbers. The norm of a universal perturbation depends on the "
        f"length of an FGSM step: the first part again, with steps {longer} times as long. Other things that are not "
        "given: the layers of the ConvNets, how the networks were trained, rounds of routing, steps and range of the "
        "search of CW, queries of the boundary attack, DeepFool's restriction, batch and clipping of the universal "
        "attack, and whether images that are wrong when clean are attacked."
    )
    shows = [
        Ours(f"Norms by the length of a step, {title}", Strides(dataset=own)) for title, own in _names(level).items()
    ]
    return Section("What is left open", text, tuple(shows))
