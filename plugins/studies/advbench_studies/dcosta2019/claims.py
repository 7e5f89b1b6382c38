"""How each claim is judged: on the report's attacks, and under the strongest that there are."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from advbench import (
    Analysis,
    Book,
    Bound,
    ClaimVerdict,
    Finding,
    Judged,
    Level,
    above,
    below,
    every,
    less,
    rate_name,
)
from advbench_studies.dcosta2019.amounts import AMOUNTS
from advbench_studies.dcosta2019.analyses import (
    CARRIED_DIGITS,
    DIRECTED_GAIN,
    ENGSTROM_GAIN,
    GRID_GAIN,
    RATES,
    STRONGEST_L_INF,
    STRONGEST_TRANSPORT,
    SURVIVORS,
    TURN_GAIN,
    carried_photos,
    cliffs,
    photo_optimisers,
    stability,
)
from advbench_studies.dcosta2019.balls import gain_name, kept_name
from advbench_studies.dcosta2019.bindings import directed, right
from advbench_studies.dcosta2019.networks import DIGITS, IN_LINF, ROBUST, TRANSPORT, VANILLA, Network
from advbench_studies.dcosta2019.suites import CARRIED, GRIDS, MOVES, TURNS, grey, photo_strongest

MOST, ENOUGH, FEW, SLACK = 50.0, 90.0, 10.0, 5.0
"""Percent or points: what is most of them, what the report calls robust, what is hardly any, what is no gain."""
NARROW = "changes within a quarter of the radius"
Judge = Callable[[Book], ClaimVerdict]
EXHAUSTIVE = "the grid asks about every transform of the report's; nothing stronger searches them"


def judges(level: Level) -> Mapping[str, Judged]:
    turned = [ball.label for ball, _ in GRIDS]
    return {
        "dcosta-1": Judged(noisy(stability(level)), noisy(stability(level, photo_strongest(level)))),
        "dcosta-2": Judged(
            moves_others(carried_photos(level)), moves_others(carried_photos(level, photo_strongest(level)))
        ),
        "dcosta-3": Judged(photographed(stability(level)), photographed(stability(level, photo_strongest(level)))),
        "dcosta-4": Judged(
            lambda book: above(book(photo_optimisers(level), "images on which adam ends lower"), MOST),
            lambda book: above(book(photo_optimisers(level), "images on which adam ends lower, best rate"), MOST),
        ),
        "dcosta-5": Judged(
            lambda book: above(book(cliffs(level, VANILLA), NARROW), MOST),
            lambda book: above(book(cliffs(level, VANILLA, "sign"), NARROW), MOST),
        ),
        "dcosta-6": Judged(
            lambda book: above(of(book, directed(VANILLA, 12)), 95),
            lambda book: above(book(STRONGEST_L_INF, kept_name(VANILLA.label, grey(12).label)), 95),
        ),
        "dcosta-7": Judged(robust_to_linf, strongest_in_linf),
        "dcosta-8": Judged(
            lambda book: below(book(CARRIED_DIGITS, "another image: other answer"), FEW),
            lambda book: below(book(RATES["digits-universal"], by_one_for_all(level)), FEW),
        ),
        "dcosta-9": Judged(better_under_turns, why=EXHAUSTIVE),
        "dcosta-10": Judged(
            lambda book: every(*(nobody(book(SURVIVORS, f"only the one is right · {ball}")) for ball in turned)),
            why=EXHAUSTIVE,
        ),
        "dcosta-11": Judged(
            transfers_more(DIRECTED_GAIN, grey(40).label), transfers_more(STRONGEST_L_INF, grey(12).label)
        ),
        "dcosta-12": Judged(
            lambda book: less(by_sinkhorn(book, level, VANILLA), by_sinkhorn(book, level, ROBUST)),
            lambda book: less(
                book(STRONGEST_TRANSPORT, kept_name(VANILLA.label, MOVES.label)),
                book(STRONGEST_TRANSPORT, kept_name(ROBUST.label, MOVES.label)),
            ),
        ),
        "dcosta-13": Judged(
            lambda book: below(book(GRID_GAIN, gain_name(IN_LINF.label, TURNS.label)), SLACK),
            lambda book: below(book(ENGSTROM_GAIN, gain_name(IN_LINF.label, TURNS.label)), SLACK),
        ),
    }


def of(book: Book, bound: Bound) -> Finding:
    return book(bound.analysis, bound.finding)


def noisy(analysis: Analysis) -> Judge:
    """Most perturbed photos stay wrong, and more than noise alone makes wrong."""

    def judge(book: Book) -> ClaimVerdict:
        wrong = book(analysis, "still wrong under noise")
        return every(above(wrong, MOST), less(book(analysis, "wrong without an attack under noise"), wrong))

    return judge


def moves_others(analysis: Analysis) -> Judge:
    """On mirrored and on other photos, more answers change than by the same pixels shuffled.

    Judged at 2/255; of 14/255, which the text has for the mirrored photo, the words tell.
    """

    def judge(book: Book) -> ClaimVerdict:
        def more(how: str, shuffled: str) -> ClaimVerdict:
            names = [f"{what}: other answer" for what in ("mirrored", "another image")]
            return every(*(less(book(analysis, f"{name}{shuffled}"), book(analysis, f"{name}{how}")) for name in names))

        asked, larger = more("", " shuffled"), more(" times 7", " shuffled, times 7")
        return ClaimVerdict(asked.outcome, f"{asked.words}; at 14/255: {larger.words} ({larger.outcome})")

    return judge


def photographed(analysis: Analysis) -> Judge:
    """Hardly a photo that survives the camera by itself is wrong because of the attack."""
    return lambda book: below(book(analysis, "wrong by the attack alone by a camera of 1"), FEW)


def robust_to_linf(book: Book) -> ClaimVerdict:
    """On the Wasserstein-trained file; of the l∞ robust one, which the sentence fits better, the words tell."""
    asked, other = (above(of(book, directed(network, 40)), ENOUGH) for network in (TRANSPORT, ROBUST))
    return ClaimVerdict(asked.outcome, f"{asked.words}; of the l∞ robust file: {other.words} ({other.outcome})")


def strongest_in_linf(book: Book) -> ClaimVerdict:
    names = [kept_name(network.label, grey(40).label) for network in (TRANSPORT, ROBUST)]
    asked, other = (above(book(STRONGEST_L_INF, name), ENOUGH) for name in names)
    return ClaimVerdict(asked.outcome, f"{asked.words}; of the l∞ robust file: {other.words} ({other.outcome})")


def by_one_for_all(level: Level) -> str:
    """The rate of the one perturbation that was made for as many digits as possible."""
    return rate_name(
        "fooled",
        dataset=DIGITS,
        target=VANILLA.label,
        attack=AMOUNTS[level].universal,
        threat=grey(CARRIED).label,
    )


def by_sinkhorn(book: Book, level: Level, network: Network) -> Finding:
    return of(book, right("transport", network, AMOUNTS[level].sinkhorn, MOVES.label))


def better_under_turns(book: Book) -> ClaimVerdict:
    """Both networks lose most digits at 20° and 3 px, and the Wasserstein-trained one keeps more in every row."""
    rows = [
        [of(book, right("turns", network, grid, ball.label)) for network in (VANILLA, TRANSPORT)]
        for ball, grid in GRIDS
    ]
    return every(*(below(one, MOST) for one in rows[0]), *(less(vanilla, transport) for vanilla, transport in rows))


def nobody(one: Finding) -> ClaimVerdict:
    """Not a single example: one is enough against it, and none says little where few were asked."""
    if one.value is None or one.high is None:
        return ClaimVerdict("undecided", f"{one.name}: nothing to count")
    words = f"{one.name}: {round(one.value * (one.n or 0) / 100)} of {one.n}"
    return ClaimVerdict("fails" if one.value > 0 else "holds" if one.high < SLACK else "undecided", words)


def transfers_more(analysis: Analysis, linf: str) -> Judge:
    """The Wasserstein-trained network gains more over Vanilla in l∞ than under turns, in the middle row of table 2."""
    turned = GRIDS[1][0].label

    def judge(book: Book) -> ClaimVerdict:
        name = gain_name(TRANSPORT.label, turned)
        return less(book(TURN_GAIN, name), book(analysis, gain_name(TRANSPORT.label, linf)))

    return judge
