"""Pages of targets, attacks, cells and transfer show the facts: right pixels, right counts, and text as text."""

from __future__ import annotations

import base64
import re
import struct
import zlib
from html import unescape
from pathlib import Path
from urllib.parse import urldefrag

import pytest
import site_facts
from gallery_facts import ORIGINAL, PERTURBED, REDRAWN, N, fill
from site_facts import EVIL, Reader, read

from advbench.rates import detection
from advbench.rates.aim import aim_of
from advbench.rates.uncertainty import detector_curve
from advbench.store import Store
from advbench_leaderboard import png
from advbench_leaderboard.facts.detectors import detector
from advbench_leaderboard.figures.arrows import Move, arrows, moves
from advbench_leaderboard.figures.detector import bins
from advbench_leaderboard.figures.heat import SHADES, shade
from advbench_leaderboard.render import render
from advbench_leaderboard.site import opened
from advbench_leaderboard.text import slug


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pages")
    fill(folder / "results.sqlite")
    render(folder / "results.sqlite", folder / "site")
    return folder / "site"


def page(root: Path, find: str, *of: str) -> Path:
    with opened(root.parent / "results.sqlite") as site:
        return root / str(getattr(site, find)(*of))


def unpacked(address: str) -> tuple[int, int, int, bytes]:
    """Width, height, colour type and the pixels of a PNG without filters; its checksums are checked."""
    data = base64.b64decode(address.removeprefix("data:image/png;base64,"))
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    chunks, place = {}, 8
    while place < len(data):
        (length,) = struct.unpack_from(">I", data, place)
        name, body = data[place + 4 : place + 8], data[place + 8 : place + 8 + length]
        assert struct.unpack_from(">I", data, place + 8 + length) == (zlib.crc32(name + body),)
        chunks[name], place = body, place + 12 + length
    width, height, depth, colour = struct.unpack(">IIBB", chunks[b"IHDR"][:10])
    assert depth == 8
    lines, row = zlib.decompress(chunks[b"IDAT"]), width * (3 if colour == 2 else 1) + 1
    assert not any(lines[::row])
    return width, height, colour, b"".join(lines[i + 1 : i + row] for i in range(0, len(lines), row))


def images(reader: Reader) -> list[tuple[str, str]]:
    return [(str(a["src"]), str(a["alt"])) for tag, a in reader.tags if tag == "img"]


def test_galleries_show_the_pixels_of_the_database(root: Path) -> None:
    reader = read(page(root, "cell_file", "linf-a-steps-untargeted"))
    found = images(reader)
    assert len(found) == 8  # two examples, each with its reconstruction
    assert [unpacked(src) for src, _ in found[:2]] == [(3, 2, 0, ORIGINAL), (3, 2, 0, PERTURBED)]
    # changes of +2 and -1, fifty times about the middle
    assert unpacked(found[2][0]) == (3, 2, 0, bytes([128, 228, 78, 128, 128, 128]))
    assert unpacked(found[3][0])[3] == REDRAWN
    text = page(root, "cell_file", "linf-a-steps-untargeted").read_text(encoding="utf-8")
    assert "Difference × 50" in text
    assert "turned by 3°" in text
    assert all(alt for _, alt in found)
    assert len(images(read(page(root, "cell_file", "linf-b-steps-untargeted")))) == 6


def test_colours_are_in_their_places() -> None:
    pixels = bytes([1, 2, 3, 4, 5, 6])
    assert unpacked(png.address(pixels, (3, 1, 2))) == (2, 1, 2, bytes([1, 3, 5, 2, 4, 6]))
    assert unpacked(png.address(bytes([0, 0, 100, 50]), (2, 1, 2))) == (2, 1, 0, bytes([50, 25]))
    with pytest.raises(ValueError, match="no image"):
        png.png(pixels, (1, 2, 2))


@pytest.mark.parametrize("packed", [b"", b"no zlib", zlib.compress(b"12345"), zlib.compress(bytes(10_000_000))])
def test_pictures_that_are_none_do_not_stop_the_pages(tmp_path: Path, packed: bytes) -> None:
    with pytest.raises(ValueError, match="not"):
        png.inflated(packed, 6)
    fill(tmp_path / "results.sqlite")
    with Store.open(tmp_path / "results.sqlite") as store:
        cell = store.rows("SELECT id FROM cells WHERE key = 'l2-b-steps-untargeted'")[0]["id"]
        store.connection.execute("INSERT INTO exhibits VALUES (?, 9, ?, ?, NULL, ?, NULL)", [cell, *[packed] * 3])
        store.connection.commit()
    with opened(tmp_path / "results.sqlite") as site:
        path = site.cell_file("l2-b-steps-untargeted")
    render(tmp_path / "results.sqlite", tmp_path / "site")
    text = (tmp_path / "site" / path).read_text(encoding="utf-8")
    assert text.count("pictures of this example cannot be read") == 1


def test_a_magnified_difference_is_never_clipped() -> None:
    for change in (1, 2, 13, 127, 128, 255):
        for low, high in ((0, change), (change, 0)):
            (grey,), factor = png.difference(bytes([low]), bytes([high]))
            assert abs((grey - 128) - (high - low) * factor) <= 1
    assert png.difference(b"\7", b"\7") == (bytes([128]), 1)


def test_every_example_has_its_verdict_and_violations_are_told(root: Path) -> None:
    rows = read(page(root, "cell_file", "linf-a-steps-untargeted")).rows
    assert [row for row in rows if len(row) == 10][1:] == [
        ["0", "x", "x", "100.0", "0", "y", "75.0", "0", "0.2", "fooled, undetected"],
        ["1", "y", "z", "100.0", "0.0208", "y", "75.0", "0.0417", "0.2", "not fooled"],
    ]
    cheat = page(root, "cell_file", "linf-a-cheat-untargeted").read_text(encoding="utf-8")
    assert "Broke the rules: left the ball, by 0.5 where 1e-06 is tolerated" in cheat
    rows = read(page(root, "cell_file", "linf-a-cheat-untargeted")).rows
    assert [row[-1] for row in rows if len(row) == 10][1:] == ["violation"] * 2


def test_moved_mass_is_drawn_and_told(root: Path) -> None:
    packed = zlib.compress(struct.pack("<12e", *[0.0] * 5, 0.25, 0.0, -0.5, *[0.0] * 4))
    assert [(m.row, m.column, m.down, m.right) for m in moves(packed, 2, 3)] == [(0, 1, 0.0, -0.5), (1, 2, 0.25, 0.0)]
    path = page(root, "cell_file", "l2-a-steps-untargeted")
    assert ["0, 1", "0", "-0.5"] in read(path).rows
    text = path.read_text(encoding="utf-8")
    assert 'd="M1.50 0.50L1.00 0.50' in text  # three pixels long it would leave the picture, and the other one, too
    assert 'd="M2.50 1.50L2.50 1.75' in text
    assert "arrows" not in page(root, "cell_file", "linf-a-steps-untargeted").read_text(encoding="utf-8")


def test_the_matrix_of_classes_counts_who_became_what(root: Path) -> None:
    path = page(root, "target_file", "b")
    text = path.read_text(encoding="utf-8")
    rows = read(path).rows
    # fooled are 0, 3, 6, …: all of class x, all eight of which become y
    start = rows.index(["True class ↓ taken for →", "x", "y", "z"])
    assert rows[start + 1 : start + 4] == [["x", "·", "100", "0"], ["y", "0", "·", "0"], ["z", "0", "0", "·"]]
    assert 'title="8 of 8">100' in text
    aimed = rows.index(["True class ↓ sent to →", "x", "y", "z"])
    assert rows[aimed + 1 : aimed + 4] == [["x", "·", "·", "100"], ["y", "·", "·", "0"], ["z", "·", "·", "·"]]
    assert 'title="0 of 7">0' in text  # one of class y was wrong from the start


def test_the_detectors_curve_is_the_stores(root: Path) -> None:
    with opened(root.parent / "results.sqlite") as site:
        board = site.board("board-linf")
        found = detector(site.store, board, site.cells["linf-a-steps-untargeted"], site.targets["a"])
        assert found is not None
        assert found.curve == detection.curve(site.store, "board-linf", "linf-a-steps-untargeted", "a")
    assert found.curve == detector_curve([e / (2 * N) for e in range(N)], [e / N for e in range(0, N, 3)], N)
    rows = read(page(root, "target_file", "a")).rows
    # without false alarms the threshold is 23 / 48, and 0, 3, 6 and 9 of 24 lie below it
    assert ["0.0", "0.0", "16.7"] in rows
    assert ["100.0", "100.0", "0.0"] in rows


def test_histograms_lose_no_image() -> None:
    found = bins([0.1, 0.2, float("nan"), 0.2], [0.9, 0.2, 50.0], 0.5)
    assert sum(one.clean for one in found) == pytest.approx(3 / 4)
    assert sum(one.fooled for one in found) == pytest.approx(1)
    assert bins([None], [None], None) == []


def test_transfer_tables_hold_the_numbers_of_the_view(root: Path) -> None:
    with Store.open(root.parent / "results.sqlite", readonly=True) as store:
        view = store.rates("transfer")
    assert view
    for row in view:
        path = page(root, "transfer_file", row["board"], row["entrant"])
        head, *body = read(path).rows
        line = next(one for one in body if one[0] == row["source_label"])
        assert line[head.index(row["target_label"])] == f"{100 * row['rate']:.1f}"
    (matrix,) = [read(page(root, "transfer_file", "board-linf", "steps")).rows]
    assert matrix == [
        ["Crafted on ↓ judged on →", "target-a", "target-b", "Mean of others"],
        ["target-a", "33.3", "16.7", "16.7"],
        ["target-b", "16.7", "33.3", "16.7"],
        ["Mean of others", "16.7", "16.7", "16.7"],
    ]


def test_who_is_robust_only_where_it_was_trained(root: Path) -> None:
    reader = read(root / "threats.html")
    row = next(row for row in reader.rows if row[0] == "target-a")
    # right are all but example 1 and the fooled eight: 15 of 24
    assert row == ["target-a", "62.5 42.7–78.8", "62.5 42.7–78.8 trained here", "62.5", "62.5", "linf(eps=0.3)"]


def test_an_attacks_page_tells_what_it_costs_and_where_it_wins(root: Path) -> None:
    reader = read(page(root, "attack_file", "steps"))
    row = next(row for row in reader.rows if row[0] == "target-a" and row[1] == "shapes/linf/0.3")
    assert row[2:] == ["33.3 18.0–53.3", "62.5", "yes", "0.2", "0.2", "10", "5", "0.0", "0"]
    cheat = read(page(root, "attack_file", "cheat"))
    assert next(row for row in cheat.rows if row[0] == "target-a")[4].startswith("no: steps")


def test_a_target_page_says_what_it_is(root: Path) -> None:
    text = page(root, "target_file", "a").read_text(encoding="utf-8")
    for words in ("f" * 64, "epochs", "linf(eps=0.3)", "0.5, set for 5.0&nbsp;% false alarms"):
        assert words in text
    rows = read(page(root, "target_file", "a")).rows
    assert ["target-b", "shapes/linf/0.3", "16.7 6.7–35.9", "steps"] in rows


def test_every_link_of_every_page_leads_somewhere(root: Path) -> None:
    readers = {path: read(path) for path in root.rglob("*.html")}
    folders = {path.parent.name for path in readers}
    assert folders >= {"targets", "attacks", "cells", "transfer", "boards"}
    anchors = {path: [a["id"] for _, a in reader.tags if a.get("id")] for path, reader in readers.items()}
    for path, reader in readers.items():
        assert len(anchors[path]) == len(set(anchors[path])), path
        for link in [str(v) for _, a in reader.tags for k, v in a.items() if k in ("href", "src")]:
            file, place = urldefrag(link)
            if file.startswith(("data:,", "data:image/png;base64,")):
                continue
            there = (path.parent / file).resolve() if file else path
            assert there.is_file(), f"{path}: {link}"
            assert not place or there not in anchors or place in anchors[there], f"{path}: {link}"


def test_what_plugins_say_is_text_on_every_page(tmp_path: Path) -> None:
    fill(tmp_path / "results.sqlite", EVIL)
    render(tmp_path / "results.sqlite", tmp_path / "site")
    plain = "<script>alert(1)</script>\"'&{{ 7 * 7 }}"
    for path in (tmp_path / "site").rglob("*.html"):
        text = path.read_text(encoding="utf-8")
        reader = read(path)
        scripts = [attributes.get("src") or "" for tag, attributes in reader.tags if tag == "script"]
        assert [src.removeprefix("../") for src in scripts] == [
            "static/view.js",
            "static/tables.js",
            "static/series.js",
        ], path
        assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", text)
        assert not any(name.startswith("on") or name == "style" for _, a in reader.tags for name in a)
        assert not any("javascript:" in str(a.get("href")) for _, a in reader.tags)
        sources = [str(a["src"]) for tag, a in reader.tags if tag == "img"]
        assert all(re.match(r"data:image/png;base64,[A-Za-z0-9+/=]+$|badges/|pictures/", source) for source in sources)
        if path.parent.name in ("targets", "attacks", "cells", "transfer"):
            seen = re.sub(r"<wbr>", "", text)
            assert plain.replace(" ", "") in unescape(seen).replace(" ", ""), path


def test_the_same_database_gives_the_same_pages_and_a_note_touches_no_cell(tmp_path: Path) -> None:
    fill(tmp_path / "results.sqlite")
    render(tmp_path / "results.sqlite", tmp_path / "one")
    render(tmp_path / "results.sqlite", tmp_path / "two")
    pages = sorted((tmp_path / "one").rglob("*.html"))
    assert all(p.read_bytes() == (tmp_path / "two" / p.relative_to(tmp_path / "one")).read_bytes() for p in pages)
    before = {p: p.stat().st_ino for p in pages}
    with Store.open(tmp_path / "results.sqlite") as store:
        store.add_note("a", "randomised", "answers differ")
    render(tmp_path / "results.sqlite", tmp_path / "one")
    changed = {p.parent.name for p in pages if p.stat().st_ino != before[p]}
    assert "targets" in changed
    assert changed.isdisjoint({"cells", "attacks", "transfer"})


def test_numbers_in_heat_maps_stand_out_from_their_shade(root: Path) -> None:
    sheet = (root / "static/site.css").read_text(encoding="utf-8")
    palettes = [
        dict(re.findall(r"--([a-z0-9-]+): (#[0-9a-f]+)", t)) for t in re.findall(r":root \{(.*?)\}", sheet, re.S)
    ]
    assert len(palettes) == 3
    for palette in palettes:
        shades = [luminance(palette[f"h{place}"]) for place in range(SHADES)]
        assert shades in (sorted(shades), sorted(shades, reverse=True))  # brightness alone tells the order
        for place, back in enumerate(shades):
            a, b = sorted((back, luminance(palette["heat-low" if place < 6 else "heat-high"])))
            assert (b + 0.05) / (a + 0.05) >= 4.5, place
    assert [shade(share) for share in (0.0, 0.099, 0.1, 0.3, 0.999, 1.0)] == ["h0", "h0", "h1", "h3", "h9", "h9"]


def luminance(colour: str) -> float:
    digits = colour[1:] if len(colour) == 7 else "".join(2 * digit for digit in colour[1:])
    parts = [int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.fixture(scope="module")
def merged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A site of boards, into which cells on other examples were merged."""
    folder = tmp_path_factory.mktemp("merged")
    site_facts.fill(folder / "results.sqlite")
    site_facts.merge(folder / "results.sqlite", {"strong": 18, "strong2": 2, "lacking": 20})
    render(folder / "results.sqlite", folder / "site")
    return folder / "site"


def words(path: Path) -> str:
    return " ".join(re.sub("<[^>]*>", " ", path.read_text(encoding="utf-8")).split())


def test_a_board_says_what_is_known_elsewhere_and_flags_what_contradicts_it(merged: Path) -> None:
    (board,) = merged.glob("boards/*.html")
    rows = {row[1].split(" ")[0]: row[1] for row in read(board).rows if len(row) > 4}
    told = "contradicted elsewhere autoattack, run on another set, 20 of these examples, leaves 2 of 20 right where the"
    assert told in rows["strong"]
    assert "elsewhere autoattack leaves 90.0 of 20 right, on another set, 20 of these examples" in rows["strong2"]
    assert "contradicted" not in rows["strong2"]  # no more than chance
    assert "elsewhere autoattack leaves 0.0 of 20 right" in rows["lacking"]  # which has no number to contradict
    assert "elsewhere" not in rows["plain"]
    cell = next(
        merged.glob(f"cells/{slug('strong-autoattack-range(0, 20)'[:12], 'strong-autoattack-range(0, 20)')}.html")
    )
    assert f'href="../cells/{cell.name}"' in board.read_text(encoding="utf-8")


def test_a_targets_page_lists_what_does_not_count_on_its_boards(merged: Path) -> None:
    rows = {
        key: next(row for row in read(next(merged.glob(f"targets/{key}-*.html"))).rows if row[0] == "autoattack")
        for key in ("strong", "strong2", "lacking")
    }
    where = "another set, 20 of these examples"
    assert rows["strong"][1:5] == ["10.0 2.8–30.1", "digits/rotate-shift/30°,3px", "90.0 76.9–96.0", where]
    assert rows["strong"][5].startswith("contradicts leaves 2 of 20 right where the attacks that count here leave 16")
    assert rows["strong2"][1:] == ["90.0 69.9–97.2", rows["strong"][2], "87.5 73.9–94.5", where, "no contradiction"]
    assert rows["lacking"][1:4] == ["0.0 0.0–16.1", rows["strong"][2], where]


def test_pages_of_an_attack_and_a_cell_say_where_a_done_cell_stands(merged: Path) -> None:
    (attack,) = merged.glob("attacks/autoattack-*.html")
    assert "No cell of this attack is done" not in words(attack)
    assert sorted(row[0:4] for row in read(attack).rows if row[0] == "autoattack") == [
        ["autoattack", "0.0 0.0–16.1", "100.0 83.9–100.0", "lacking"],
        ["autoattack", "10.0 2.8–30.1", "90.0 69.9–97.2", "strong"],
        ["autoattack", "90.0 69.9–97.2", "10.0 2.8–30.1", "strong2"],
    ]
    key = "strong-autoattack-range(0, 20)"
    text = words(merged / f"cells/{slug(key[:12], key)}.html")
    assert "replaced" not in text
    assert "Status done, on no board" in text
    assert "In the same ball, on other examples: digits/ rotate-shift/ 30°, 3px (40 examples)" in text


def test_an_aimed_board_says_so_wherever_it_is_named(tmp_path: Path) -> None:
    site_facts.aim(tmp_path / "aimed.sqlite")
    render(tmp_path / "aimed.sqlite", tmp_path / "site")
    root = tmp_path / "site"
    (board,) = root.glob("boards/*.html")
    text = board.read_text(encoding="utf-8")
    assert "<title>things/linf/0.3, aimed at class 5 (dog) – advbench</title>" in text
    plain = words(board)
    assert "may be changed within the ball linf/0.3 so that it is taken for class 5 (dog) ." in plain
    assert "counts by its clean answer" in plain
    for page in (
        root / "index.html",
        root / "threats.html",
        *root.glob("compare/*.html"),
        *root.glob("targets/*.html"),
    ):
        assert "aimed at class 5" in words(page).replace(" (dog)", ""), page
    assert "things/linf/0.3, aimed at class 5 (dog): " in next(root.glob("badges/*.svg")).read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("required", "aim"),
    [
        (["pgd"], ""),
        ([], ""),
        (["pgd → class=1", "pgd"], ""),  # one of them may go anywhere
        (["pgd → class=1"], "class 1 (car)"),
        (["pgd → class=1", "fgsm → class=1", "pgd → class=2"], "class 1 (car) or 2"),
        (["pgd → class=0", "pgd → class=1", "pgd → class=2"], "each other class in turn"),
        (["pgd → random"], "a class drawn by chance"),
        (["pgd → random", "pgd → class=2"], "class 2 or a class drawn by chance"),
        (["pgd → least-likely"], "the class that the target finds least likely"),
        (["mine(words=a → b)"], ""),  # a name, and no goal
        (["mine → class=99999999999999"], ""),
    ],
)
def test_what_a_board_aims_at_is_read_from_its_required_attacks(required: list[str], aim: str) -> None:
    assert aim_of(required, ("plane", "car", "2")) == aim


def test_the_threshold_and_every_arrow_lie_within_their_figure() -> None:
    found = bins([0.1] * 50, [0.2] * 50, threshold=3.0)
    assert found[-1].high == 3.0  # as far as the alarm that is drawn there
    drawn = arrows("title", [Move(0, 0, -1.0, 2.0), Move(1, 2, 0.5, 0.5)], 2, 3)
    places = [float(number) for d in re.findall(r' d="([^"]*)"', drawn) for number in re.findall(r"-?[\d.]+", d)]
    assert all(0 <= x <= 3 for x in places[::2])
    assert all(0 <= y <= 2 for y in places[1::2])
