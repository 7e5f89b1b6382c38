"""Images of one's own: what is taken, what is refused in a line, and that no label tells where somebody keeps data."""

from __future__ import annotations

import io
import pickle
import sqlite3
import zipfile
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import Advbench
from PIL import Image

from advbench.data import DataFolders
from advbench.errors import AdvbenchError
from advbench.plugins import data_intake
from advbench_datasets import arrays, folder
from advbench_datasets.arrays import Arrays
from advbench_datasets.folder import Folder

CLASSES = ("gänse", "花")
FLOWERS = Folder(path="flowers", class_folders=CLASSES, size=8)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Ten images of each class, in a data folder."""
    draws = np.random.default_rng(0)
    for number, name in enumerate(CLASSES):
        for image in range(10):
            pixels = draws.integers(0, 100, (12, 16, 3)) + 100 * number
            save(tmp_path / "flowers" / name / f"{image}.png", Image.fromarray(pixels.astype(np.uint8)))
    return tmp_path


def save(path: Path, image: Image.Image, **how: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **how)


def at(place: Path) -> DataFolders:
    return DataFolders((place,), download=False)


def refusal(dataset: Folder | Arrays, place: Path) -> str:
    with pytest.raises(AdvbenchError) as error:
        data_intake.load(dataset, at(place))
    assert "\n" not in str(error.value)
    return str(error.value)


def only(place: Path, image: Image.Image, dataset: Folder = FLOWERS, **how: Any) -> torch.Tensor:
    """What becomes of an image that is the only one of its class."""
    for path in (place / "flowers" / CLASSES[0]).iterdir():
        path.unlink()
    save(place / "flowers" / CLASSES[0] / "one.png", image, **how)
    judge = data_intake.load(dataset, at(place)).judge
    return judge.images[judge.labels == 0][0]


def test_a_fifth_is_judged_a_tenth_calibrates_and_the_rest_trains(place: Path) -> None:
    data = data_intake.load(FLOWERS, at(place))
    assert [len(part) for part in (data.train, data.calibrate, data.judge)] == [14, 2, 4]
    assert data.judge.labels.bincount().tolist() == [2, 2]
    assert len(torch.cat([data.train.ids, data.calibrate.ids, data.judge.ids]).unique()) == 20
    assert data.source == "flowers"


def test_names_of_files_do_not_matter(place: Path) -> None:
    before = data_intake.load(FLOWERS, at(place))
    for number, path in enumerate(sorted((place / "flowers" / CLASSES[1]).iterdir(), reverse=True)):
        path.rename(path.with_name(f"z{number}.png"))
    after = data_intake.load(FLOWERS, at(place))
    assert after.judge.fingerprint == before.judge.fingerprint
    assert after.train.fingerprint == before.train.fingerprint


def test_an_image_that_is_there_twice_counts_once_and_is_told(place: Path) -> None:
    flowers = place / "flowers" / CLASSES[0]
    (flowers / "again.png").write_bytes((flowers / "0.png").read_bytes())
    data = data_intake.load(FLOWERS, at(place))
    assert len(data.train) + len(data.calibrate) + len(data.judge) == 20
    assert data.partial == "1 images are there twice, and count once"
    (place / "flowers" / CLASSES[1] / "again.png").write_bytes((flowers / "0.png").read_bytes())
    assert "keep it in one of them" in refusal(FLOWERS, place)


def test_one_image_of_a_class_is_judged(place: Path) -> None:
    assert only(place, Image.new("RGB", (9, 9), (10, 20, 30)))[:, 0, 0].tolist() == [10, 20, 30]


def test_the_middle_is_kept(place: Path) -> None:
    image = Image.new("RGB", (24, 8), "black")
    image.paste("white", (8, 0, 16, 8))
    assert (only(place, image) == 255).all()


def test_grey_becomes_colour_colour_grey_and_the_transparent_white(place: Path) -> None:
    assert only(place, Image.new("L", (8, 8), 7))[:, 0, 0].tolist() == [7, 7, 7]
    assert only(place, Image.new("RGBA", (8, 8), (0, 0, 0, 0)))[:, 0, 0].tolist() == [255, 255, 255]
    grey = Folder(path="flowers", class_folders=CLASSES, size=8, grey=True)
    assert only(place, Image.new("RGB", (8, 8), (9, 9, 9)), grey).shape == (1, 8, 8)


def test_an_image_is_turned_as_its_camera_says(place: Path) -> None:
    image = Image.new("RGB", (8, 8), "black")
    image.paste("white", (0, 0, 8, 4))
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    turned = only(place, image, exif=exif)
    assert int(turned[0, 0, 0]) == 0
    assert int(turned[0, 7, 0]) == 255


def test_what_file_managers_leave_behind_is_passed_over(place: Path) -> None:
    for name in (".DS_Store", "Thumbs.db"):
        (place / "flowers" / CLASSES[0] / name).write_bytes(b"x")
    assert len(data_intake.load(FLOWERS, at(place)).judge) == 4


@pytest.mark.parametrize(
    ("name", "content", "remedy"),
    [
        ("notes.txt", b"x", "is not called an image"),
        ("broken.png", b"\x89PNG\r\n\x1a\n", "save it again as PNG, or move it away"),
        ("empty.jpg", b"", "save it again as PNG, or move it away"),
    ],
)
def test_a_file_that_is_no_image_is_named(place: Path, name: str, content: bytes, remedy: str) -> None:
    (place / "flowers" / CLASSES[0] / name).write_bytes(content)
    told = refusal(FLOWERS, place)
    assert name in told
    assert remedy in told


def test_a_picture_that_would_fill_the_memory_is_not_decoded(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder, "MOST_PIXELS", 100)
    assert "12 pixels, more than 100; make it smaller" in refusal(FLOWERS, place)


def test_sixteen_bits_and_several_frames_are_refused(place: Path) -> None:
    extra = place / "flowers" / CLASSES[0]
    Image.fromarray(np.zeros((8, 8), np.uint16)).save(extra / "deep.png")
    assert "more than 8 bits" in refusal(FLOWERS, place)
    (extra / "deep.png").unlink()
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    frames[0].save(extra / "film.gif", save_all=True, append_images=frames[1:])
    assert "several frames" in refusal(FLOWERS, place)


def test_folders_and_classes_have_to_agree(place: Path) -> None:
    (place / "flowers/rose").mkdir()
    assert "add it to classes, or move it away" in refusal(FLOWERS, place)
    assert "holds no image" in refusal(Folder(path="flowers", class_folders=(*CLASSES, "rose")), place)
    assert "has no folder 'tulip'" in refusal(Folder(path="flowers", class_folders=("tulip", *CLASSES, "rose")), place)


@pytest.mark.parametrize("path", ["/home/me/flowers", "../flowers", "~/flowers", "C:\\me\\flowers", "a/../../flowers"])
def test_no_folder_of_anybodys_machine_is_a_parameter(path: str) -> None:
    with pytest.raises(AdvbenchError, match=r"write path=flowers and name the folder around it with --data"):
        Folder(path=path, class_folders=CLASSES)
    with pytest.raises(AdvbenchError, match=r"write file=flowers and name the folder around it with --data"):
        Arrays(file=path, class_list=CLASSES)


def test_who_lacks_the_folder_reads_how_to_name_it(tmp_path: Path) -> None:
    assert refusal(FLOWERS, tmp_path).endswith("name the folder that has it with --data or ADVBENCH_DATA")
    assert "say which, as in folder(path=" in refusal(Folder(), tmp_path)
    assert "say which, as in arrays(file=" in refusal(Arrays(), tmp_path)


def test_classes_are_listed_once_each() -> None:
    for classes in ((), ("a",), ("a", "a")):
        with pytest.raises(AdvbenchError, match="at least two classes, each once"):
            Folder(path="flowers", class_folders=classes)


CELLS = Arrays(file="cells.npz", class_list=("ill", "well"), sides=(1, 4, 4))


def write(place: Path, **changes: Any) -> Path:
    held = {kind: np.arange(n * 16, dtype=np.uint16).reshape(n, 4, 4) // 2 for kind, n in (("train", 20), ("test", 6))}
    written = {f"x_{kind}": images.astype(np.uint8) for kind, images in held.items()}
    written |= {f"y_{kind}": np.arange(len(images)) % 2 for kind, images in held.items()}
    written |= changes
    np.savez(place / "cells.npz", **{key: value for key, value in written.items() if value is not None})
    return place


def test_arrays_are_split_and_may_lack_a_part_to_train_on(tmp_path: Path) -> None:
    data = CELLS.load(at(write(tmp_path)))
    assert [len(part) for part in (data.train, data.calibrate, data.judge)] == [18, 2, 6]
    alone = data_intake.load(CELLS, at(write(tmp_path, x_train=None, y_train=None)))
    assert [len(part) for part in (alone.train, alone.calibrate, alone.judge)] == [0, 0, 6]


class Hostile:
    def __reduce__(self) -> Any:
        return (Path.touch, (Path("was-executed"),))


def test_nothing_in_an_array_file_is_executed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path, y_test=np.array([Hostile()] * 6, dtype=object))
    assert "without objects" in refusal(CELLS, tmp_path)
    (tmp_path / "cells.npz").write_bytes(pickle.dumps(Hostile()))
    assert "without objects" in refusal(CELLS, tmp_path)
    assert not (tmp_path / "was-executed").exists()


def test_a_file_that_unpacks_to_too_much_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    buffer = io.BytesIO()
    np.save(buffer, np.zeros((1, 4, 4), np.uint8))
    with zipfile.ZipFile(tmp_path / "cells.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x_test.npy", buffer.getvalue() + bytes(2_000_000))
    monkeypatch.setattr(arrays, "MOST_BYTES", 1_000_000)
    assert "keep fewer images in it" in refusal(CELLS, tmp_path)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"x_test": np.zeros((6, 4, 4))}, "not uint8"),
        ({"x_test": np.zeros((6, 5, 4), np.uint8)}, "say size="),
        ({"y_test": None}, "lacks y_test"),
        ({"y_test": np.zeros(5, int)}, "not one whole number for each image"),
        ({"y_test": np.full(6, 2)}, "labels outside 0 to 1"),
    ],
)
def test_a_wrong_array_is_named(tmp_path: Path, change: dict[str, Any], told: str) -> None:
    assert told in refusal(CELLS, write(tmp_path, **change))


@pytest.mark.slow
def test_a_run_stores_and_shows_no_folder_of_this_machine(
    place: Path, advbench: Advbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = place / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    suite = """
name: mine
data: folder(path=flowers, classes=[gänse, 花], size=16, publish=true)
models: [small-cnn]
attacks: [fgsm]
threats: [linf(eps=8/255)]
examples: 4
"""
    (work / "mine.yaml").write_text(suite, encoding="utf-8")
    first = advbench("run", "mine.yaml", "--data", str(place), "--offline")
    assert first.code == 0, first.err
    again = advbench("run", "mine.yaml", "--data", str(place), "--offline")
    assert "0 cells crafted, 1 kept" in again.out
    verified = advbench("verify", "--data", str(place))
    assert verified.code == 0, verified.err
    with closing(sqlite3.connect(work / "results.sqlite")) as raw:
        assert raw.execute("SELECT source FROM datasets").fetchall() == [("flowers",)]
        assert str(place) not in "\n".join(raw.iterdump())
    lacking = advbench("verify", "--data", str(work))
    assert lacking.code == 1
    assert "name the folder that has it with --data" in " ".join((lacking.out + lacking.err).split())
    pages = [page.read_text(encoding="utf-8") for page in (work / "results-site").rglob("*.html")]
    assert any("gänse" in page for page in pages)
    assert not any(str(place) in page for page in pages)
