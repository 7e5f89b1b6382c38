"""The page of the study, in the order of the report."""

from __future__ import annotations

from advbench import Chart, Gallery, Level, Missing, Ours, Section, Table
from advbench_studies.dcosta2019.amounts import AMOUNTS, Amounts
from advbench_studies.dcosta2019.analyses import (
    CARRIED_DIGITS,
    DIRECTED_GAIN,
    ENGSTROM_GAIN,
    FOOLING,
    L_INF,
    MADRY_CURVE,
    MADRY_OURS,
    PICTURES_6,
    PICTURES_19,
    PICTURES_20,
    RATES,
    SEVEN,
    SEVEN_OURS,
    STRONGEST_L_INF,
    STRONGEST_TRANSPORT,
    STRONGEST_TURNS,
    SURVIVORS,
    TRILEMMA,
    TURN_GAIN,
    carried_photos,
    cliffs,
    digit_optimisers,
    heat,
    photo_cliffs,
    photo_optimisers,
    sizes,
    stability,
    structure,
)
from advbench_studies.dcosta2019.networks import IN_L2, IN_LINF, IN_TURNS, PLAIN, TRANSPORT, VANILLA
from advbench_studies.dcosta2019.suites import CARRIED, grey, photo_attack, photo_strongest

ABSTRACT = """\
A report on perturbations and on training against them. On photos: a perturbation made for one photo stays adversarial
under noise seven times its size, and moves mirrored and other photos, too. On digits: a plainly trained network gives
way all at once as the radius grows, and one that Wong et al. trained against Wasserstein attacks is also robust in l∞,
less so against turns and shifts. It ends in a trilemma: training in l∞ helps against Wasserstein attacks, it does not
help against turns, and yet turns are small in the Wasserstein distance.

Here the digits meet the checkpoints that Wong et al. published, which are the report's as far as can be told, and
networks of the same architecture trained here; photos meet EfficientNet-Lite0 in place of ResNet18."""

NO_PICTURES = "the photos may not be published, nor what is made of them; what the figure shows is counted instead"


def sections(level: Level) -> tuple[Section, ...]:
    amounts = AMOUNTS[level]
    return (
        introduction(amounts),
        optimisation(level, amounts),
        training(amounts),
        wasserstein(level, amounts),
        orthogonal(amounts),
        *on_photos(level, amounts),
        *on_digits(level, amounts),
        *under_turns(amounts),
        trilemma(level, amounts),
    )


def introduction(amounts: Amounts) -> Section:
    text = f"""\
One step of the gradient's sign, ε = 0.005 in pixels from 0 to 1, on {amounts.photos} photos of ImageNet. The report
shows one photo and ResNet18; its file is not named. Ours is EfficientNet-Lite0."""
    return Section(
        "1 Introduction",
        text,
        (
            Table("Figure 1"),
            Missing("Figure 1", NO_PICTURES),
            Ours("FGSM at 0.005, and the attacks of section 5.1", RATES["photos"]),
        ),
    )


def optimisation(level: Level, amounts: Amounts) -> Section:
    text = f"""\
A directed attack steps down the loss towards the class that it wants, inside l∞ 2/255. The report takes plain gradients
at a rate of 0.07 and Adam at 0.001, on one photo. Ours: {amounts.tried_photos} photos, {amounts.photo_steps} steps from
the photo itself towards `magnetic compass`, the same rates, and each rule at the best of {1 + len(amounts.tuned)}
rates, since a slow rule may only have a small rate; beside them steps of the gradient's sign. The same on digits, at
15/255."""
    photos = photo_optimisers(level)
    return Section(
        "2.1 Training the robust model: the optimiser of the attack",
        text,
        (
            Chart("Figure 2", digit_optimisers(level), x="step", y="loss", caption="digits, l∞ 15/255"),
            Table("Figure 3"),
            Missing("Figure 3", NO_PICTURES),
            Table("Figure 18"),
            Chart("Figure 18", photos, x="step", y="loss", caption=f"mean over {amounts.tried_photos} photos"),
            Ours("Figure 18: where the losses end, photos", photos),
            Ours("Figure 2: where the losses end, digits", digit_optimisers(level)),
        ),
    )


def training(amounts: Amounts) -> Section:
    text = f"""\
The report cites Madry et al.: a network trained in l∞ 0.3 keeps 89 % of the digits. Ours: `small-cnn`, trained in the
same ball, and the report's own architecture, trained in it and plainly, under `pgd` (40 steps) on {amounts.digits}
digits."""
    return Section(
        "2.2 Results of adversarial training",
        text,
        (
            Table("Figure 4"),
            Chart("Figure 4", MADRY_CURVE, x="radius", y="right, percent", caption="small-cnn"),
            Chart("Figure 4", MADRY_OURS, x="radius", y="right, percent", caption="the report's architecture"),
        ),
    )


def wasserstein(level: Level, amounts: Amounts) -> Section:
    text = f"""\
Figure 7 is the table of Wong et al.; its networks are the four checkpoints that they published. The attack of its
column is theirs, in the ball of radius 1, distance squared, 5 × 5 windows as the report says: `{amounts.sinkhorn}`. It
is made feasible here, every image within its budget. {amounts.moved} digits; clean accuracy is of all 10,000. The
network that wants black and white digits is given them, and attacked around them.

Beside it stand exact attacks in the same ball, `{amounts.transport_pgd}` and
`{amounts.frank_wolfe}`: the report suspects that the
smoothed projection is too weak to find the strongest examples.

Figure 8 has no numbers in the text: ours stands alone."""
    return Section(
        "3 Wasserstein adversarial examples",
        text,
        (
            Gallery("Figure 5", sizes(level), ("figure 5*",)),
            Table("Figure 6"),
            Gallery("Figure 6", PICTURES_6, caption="a Wasserstein ball of 0.4, then l∞ 0.3; digits drawn by chance"),
            Table("Figure 7", across="attack"),
            Ours("Figure 7 under the worst of three attacks", STRONGEST_TRANSPORT),
            Ours("Figure 7, attack by attack", RATES["transport"]),
            Chart("Figure 8", FOOLING, x="radius", y="fooled, percent"),
            Missing("Figure 9", "CIFAR-10: only parts of it are here, and no network of Wong et al. for it"),
        ),
    )


def orthogonal(amounts: Amounts) -> Section:
    text = f"""\
Figure 10 is a table of Engstrom et al.: turns by up to 30° and shifts by up to 3 pixels. Its networks are trained here:
the report's architecture, plainly, in l∞ 0.3, and on images turned and shifted at random. {amounts.turned} digits;
`grid` asks about 31 angles and 5 × 5 shifts, worst-of-10 about ten draws, FO is
`{amounts.first_order}`. Clean accuracy is of all 10,000.

Figure 11 shows gradients. That they look more human can't be measured; how far they follow the ink can."""
    return Section(
        "4 Transferability of robustness",
        text,
        (
            Table("Figure 10", across="attack"),
            Ours("Figure 10: worst of the three, and what each training gains over none", ENGSTROM_GAIN),
            *(
                Gallery("Figure 11", heat(network), caption=f"{network.title}: digit and gradient")
                for network in (PLAIN, IN_LINF)
            ),
            *(Ours(f"Figure 11, {network.title}", heat(network)) for network in (PLAIN, IN_LINF, IN_L2, IN_TURNS)),
        ),
    )


def on_photos(level: Level, amounts: Amounts) -> tuple[Section, ...]:
    noise, strong = stability(level), stability(level, photo_strongest(level))
    carried, carried_strong = carried_photos(level), carried_photos(level, photo_strongest(level))
    made = f"{amounts.photos} photos, `{photo_attack(level)}` in l∞ 2/255 towards `magnetic compass`"
    first = f"""\
{made}. Counted are photos that were right and became the compass. Noise is uniform in [0, 1] times 7ε, added once the
attack is done, {noise.draws} draws a photo. The second block is of
`{photo_strongest(level)}`, with the same aim.

The report puts the same perturbation on the mirrored hamster: at 2/255 says the figure, at 14/255 says the text, which
is seven times as much. Both are run. Beside each stands the same perturbation with its pixels shuffled. The hamster is
not among our photos, an otter is; it is another photo than the report's. Where the report tells the confidence on one
photo, ours is the median over photos, with the limits of 90 % of them.

Figure 17 is a photograph of a screen. Ours is a simulated camera: turns and shifts of up to 2° and 2 pixels, blur,
another light, stripes, noise, all proportional to one number."""
    return (
        Section(
            "5.1 Transferability and stability of the attack",
            first,
            (
                Table("Figure 12"),
                Missing("Figure 12", NO_PICTURES),
                Table("Figure 13"),
                Chart("Figure 13", structure(level), x="spatial frequency", y="energy, percent"),
                Ours("Figure 13 in numbers", structure(level)),
                Table("Figure 14"),
                Missing("Figure 14", NO_PICTURES),
                Ours("Figures 12, 14 and 17: noise and camera", noise),
                Ours("The same under the stronger attack", strong),
                Table("Figure 15"),
                Missing("Figure 15", NO_PICTURES),
                Table("Figure 16"),
                Missing("Figure 16", NO_PICTURES),
                Ours("Figures 15 and 16: on mirrored and other photos", carried),
                Ours("The same, by the stronger attack", carried_strong),
                Chart("Figure 17", noise, x="strength of the camera", y="photos, percent"),
            ),
        ),
    )


def on_digits(level: Level, amounts: Amounts) -> tuple[Section, ...]:
    text = f"""\
Digits are sent to class 5 by 100 steps of Adam, {amounts.digits} of them less the fives. Not stated are rate, start and
loss: ours begin at the digit, with a rate of 0.001, the one of figure 18, and cross-entropy. A hundred such steps lead
25 of 255 at most, so that the ball of 40/255 is not searched to its edge; beside it stands a rate of 0.01, for which it
is. What counts as accurate is not stated either: here a digit that the network still gets right.

Table 1 is of one 7. Which one is not said; ours is the first digit of the test set. Beside it, how many of all sevens
and of all digits become a 5, and over how wide a part of the radius a digit changes: from the last radius at which the
network is 90 % sure of its class to the first from which on it is 90 % sure of a 5.

Which checkpoint of Wong et al. stands behind the sentence that accuracy falls below 90 % only above 40/255 can't be
told: the l∞ robust one lies in the same folder as the Wasserstein-trained one that the report names. All three are
run."""
    return (
        Section(
            "5.2 Transferability of robustness: l∞",
            text,
            (
                Table("text-section-5.2"),
                Chart("text-section-5.2", L_INF, x="radius, of 255", y="right, percent"),
                Ours("The same digits, in numbers", L_INF),
                Ours("Under the strongest attack", STRONGEST_L_INF),
                Table("Table 1", across="metric"),
                Chart("Table 1", SEVEN, x="radius, of 255", y="become a 5, percent"),
                Ours("Table 1: the first 7, all sevens, all digits", SEVEN),
                Ours("The same on the network trained here", SEVEN_OURS),
                Ours("Width of the change: Vanilla", cliffs(level, VANILLA)),
                Ours("Width of the change: Vanilla, steps of the gradient's sign", cliffs(level, VANILLA, "sign")),
                Ours("Width of the change: Wasserstein-trained", cliffs(level, TRANSPORT)),
                Ours("Width of the change: EfficientNet-Lite0", photo_cliffs(level)),
                Table("Figure 19"),
                Gallery(
                    "Figure 19",
                    PICTURES_19,
                    (f"{grey(CARRIED).label} · *",),
                    "Vanilla at 15/255, digits drawn by chance",
                ),
                Table("Figure 20"),
                Gallery("Figure 20", PICTURES_20, (f"{grey(40).label} · *",), "Wasserstein-trained at 40/255"),
                Ours("One digit's perturbation on others, 15/255", CARRIED_DIGITS),
                Ours("One perturbation made for all digits, 15/255", RATES["digits-universal"]),
            ),
        ),
    )


def under_turns(amounts: Amounts) -> tuple[Section, ...]:
    text = f"""\
The report's grids: every half degree and every whole pixel, bilinear, black outside, about the centre. A digit counts
as right where no transform of the grid makes the network wrong, which is so where the one of the lowest confidence does
not. {amounts.turned} digits; how many the report took is not stated.

Figures 21 to 24 show single digits. Which ones is not said, so their numbers stand beside those of {amounts.worst}
digits, by the median and the limits of 90 % of them: how far the strongest transform of the grid of 20° and 3 pixels
turns and shifts, either way. Galleries are drawn by chance."""
    galleries = [
        Gallery(place, STRONGEST_TURNS, (f"{network.label} · *",), network.title)
        for place, network in (
            ("Figure 21", VANILLA),
            ("Figure 22", TRANSPORT),
            ("Figure 23", VANILLA),
            ("Figure 24", TRANSPORT),
        )
    ]
    shown = [one for gallery in galleries for one in (Table(gallery.place), gallery)]
    return (
        Section(
            "5.2 Transferability of robustness: turns and shifts",
            text,
            (
                Table("Table 2", across="network"),
                Ours("Table 2 with the l∞ robust checkpoint, and what is gained over Vanilla", TURN_GAIN),
                Ours(
                    "Digits that only Vanilla (one) or only the Wasserstein-trained network (other) gets right",
                    SURVIVORS,
                ),
                *shown,
                Ours("The strongest transforms", STRONGEST_TURNS),
            ),
        ),
    )


def trilemma(level: Level, amounts: Amounts) -> Section:
    text = f"""\
Three results seem to contradict each other: training in l∞ helps against Wasserstein attacks; it does not help against
turns and shifts; and those are small in the Wasserstein distance.

Our numbers, on one architecture trained in each of the four balls and attacked in each ({amounts.moved} to
{amounts.turned} digits, worst case over the attacks): whether the first result outlives exact attacks in the
Wasserstein ball, and whether the second holds, is read off the gains over plain training. For the third, the first
table has what the best plan costs. Shifting all mass by h pixels costs h², whatever the image: one pixel, of which the
report speaks, is on the edge of the ball of radius 1, and a window of 5 × 5 has room for it; three pixels cost 9."""
    return Section(
        "6.1 The intriguing trilemma",
        text,
        (
            Table("text-section-6.1"),
            Ours("Sizes in the Wasserstein distance, distance squared", sizes(level)),
            Ours("Five trainings, four balls", TRILEMMA),
            Ours("Gains of the published networks in l∞, directed attack", DIRECTED_GAIN),
        ),
    )
