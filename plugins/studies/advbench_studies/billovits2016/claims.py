"""How each claim is judged: on the paper's one step, and under the strongest attack where one could change it."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

from advbench import Book, ClaimVerdict, Judged, Level, above, below, every, less, near, opposite
from advbench_studies.billovits2016.analyses import (
    OF_PATTERNS,
    ON_PHOTOS,
    RATES,
    depth_of_digits,
    depth_of_photos,
    mitigated,
    on_digits,
    on_photos,
    one_step,
)
from advbench_studies.billovits2016.depth import LAYERS
from advbench_studies.billovits2016.one_step import BINS, SECOND_BEST, changed_at, surely_changed_at
from advbench_studies.billovits2016.prior import READINGS
from advbench_studies.billovits2016.suites import BALLS, DEEP, PLAIN, SHALLOW, WITHOUT_DROPOUT, strongest

OF_ONE_STEP = "the claim is about one step of the gradient's sign"
OF_PICTURES = "no attack is named: the images are not attacked ones"
MANY = 5.0
"""Percent from which on adversarial examples are there, and not a rarity."""


def judges(level: Level) -> Mapping[str, Judged]:
    strong = strongest(level)

    def shallower(attack: str, book: Book) -> ClaimVerdict:
        """Every deep network is fooled less often than the shallow one, at each radius."""
        return every(
            *(
                less(
                    book(RATES, on_digits("success", model, attack, ball)),
                    book(RATES, on_digits("success", SHALLOW, attack, ball)),
                )
                for ball in BALLS
                for model in DEEP
            )
        )

    def dropout(attack: str, book: Book) -> ClaimVerdict:
        return every(
            *(
                less(
                    book(RATES, on_digits("success", WITHOUT_DROPOUT, attack, ball)),
                    book(RATES, on_digits("success", PLAIN, attack, ball)),
                )
                for ball in BALLS
            )
        )

    def sure_images_resist(book: Book) -> ClaimVerdict:
        photos = one_step(level)
        return less(book(photos, changed_at(*BINS[-1])), book(photos, changed_at(*BINS[-2])))

    def unsure_images_fall(book: Book) -> ClaimVerdict:
        photos = one_step(level)
        return every(*(less(book(photos, changed_at(*one)), book(photos, changed_at(*BINS[0]))) for one in BINS[2:]))

    def moderate_ones_most(book: Book) -> ClaimVerdict:
        photos = one_step(level)
        peak = book(photos, surely_changed_at(*BINS[1]))
        others = (one for one in BINS if one != BINS[1])
        return every(*(less(book(photos, surely_changed_at(*one)), peak) for one in others))

    def seconds_are_low(book: Book) -> ClaimVerdict:
        """One photo is enough to refute it; that none does says more the more there are."""
        largest = book(one_step(level), SECOND_BEST)
        if largest.value is not None and largest.value >= 25:
            return ClaimVerdict("fails", f"the largest of {largest.n} is {largest.value:.1f} percent")
        return above(book(one_step(level), "second-best below 25 % where changed above 50 %"), 90)

    def shrinks(kind: str, book: Book) -> ClaimVerdict:
        """From the first convolution to the middle to the last, on both networks."""
        verdicts = []
        for analysis, last in ((depth_of_photos(level), 4), (depth_of_digits(level), 2)):
            names = LAYERS[analysis.model]
            shown = (names[0], names[last // 2], names[last])
            for early, late in pairwise(shown):
                verdicts.append(less(book(analysis, f"{kind} at {late}"), book(analysis, f"{kind} at {early}")))
        return every(*verdicts)

    def grows_behind(book: Book) -> ClaimVerdict:
        analysis = depth_of_digits(level)
        last, first_dense, answer = "conv3_1", "relu6", "fc8"
        return every(
            less(book(analysis, f"relative at {last}"), book(analysis, f"relative at {answer}")),
            less(book(analysis, f"relative at {first_dense}"), book(analysis, f"relative at {answer}")),
        )

    def patterns_differ(book: Book) -> ClaimVerdict:
        verdicts = []
        for attack in ("cppn(generations=5, population=4)" if level == "smoke" else "cppn",):
            for one, other in (DEEP, DEEP[::-1]):
                title = f"{attack} of {one}"
                verdicts.append(below(book(OF_PATTERNS, f"same label on {other}, {title}"), 50))
                verdicts.append(
                    less(
                        book(OF_PATTERNS, f"confidence on {other}, {title}"), book(OF_PATTERNS, f"confidence, {title}")
                    )
                )
        return every(*verdicts)

    def four_fifths(aware: bool, book: Book) -> ClaimVerdict:
        """80 percent or more; below that only where the interval says so."""
        return opposite(below(book(mitigated(level, aware=aware), READINGS[1]), 80))

    return {
        "billovits-1": Judged(lambda book: shallower("fgsm", book), lambda book: shallower(strong, book)),
        "billovits-2": Judged(
            lambda book: above(book(ON_PHOTOS, on_photos("fooled", level)), MANY),
            lambda book: above(book(ON_PHOTOS, on_photos("fooled", level, best=True)), MANY),
        ),
        "billovits-3": Judged(sure_images_resist, why=OF_ONE_STEP),
        "billovits-4": Judged(unsure_images_fall, why=OF_ONE_STEP),
        "billovits-5": Judged(moderate_ones_most, why=OF_ONE_STEP),
        "billovits-6": Judged(seconds_are_low, why=OF_ONE_STEP),
        "billovits-7": Judged(lambda book: shrinks("absolute", book), lambda book: shrinks("relative", book)),
        "billovits-8": Judged(grows_behind, why=OF_ONE_STEP),
        "billovits-9": Judged(lambda book: four_fifths(False, book), lambda book: four_fifths(True, book)),
        "billovits-10": Judged(
            lambda book: near(
                book(mitigated(level), "right with the prior"), book(mitigated(level), "right without the prior"), 2
            ),
            why="about clean images",
        ),
        "billovits-11": Judged(patterns_differ, why=OF_PICTURES),
        "billovits-12": Judged(lambda book: dropout("fgsm", book), lambda book: dropout(strong, book)),
    }
