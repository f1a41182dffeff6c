"""mmrun data preview: the picture, and what it refuses."""

import numpy as np
import pytest
from PIL import Image

from mmrun import compose
from mmrun.cli import main
from mmrun.cli.preview_picture import draw_picture
from mmrun.run.preview import preview_rows

PRODUCTS = ["dataset=manifest", "dataset.path=rows.csv", "dataset.target=price"]


@pytest.fixture(autouse=True)
def rows(tmp_path, monkeypatch):
    """Forty rows of all kinds but sound; the second has neither picture nor text."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MMRUN_CACHE", str(tmp_path / "cache"))
    generator = np.random.default_rng(0)
    lines = ["photo,title,pulse,weight,town,price,split"]
    for row in range(40):
        Image.fromarray(generator.integers(0, 255, (12, 12, 3), dtype=np.uint8)).save(f"{row}.png")
        photo, title = (f"{row}.png", f"a blue mug $5 \x1b[31m number {row}") if row != 1 else ("", "")
        split = ("train", "val", "test")[max(0, row - 37)]
        np.save(f"{row}.npy", generator.normal(size=(2, 20)).astype(np.float32))
        lines.append(f"{photo},{title},{row}.npy,{row % 7},{'ab'[row % 2]},{row * 1.5},{split}")
    (tmp_path / "rows.csv").write_text("\n".join(lines) + "\n")


def run(capsys, *words):
    code = main(["data", *words])
    printed = capsys.readouterr()
    return code, printed.out, printed.err


def preview(*words, num_rows=3):
    return preview_rows(compose.load([*PRODUCTS, *words]), num_rows)


def read_texts(tmp_path, rows):
    draw_picture(rows, tmp_path / "preview.svg")
    return (tmp_path / "preview.svg").read_text()


def test_rows_are_shown_before_and_after(capsys, tmp_path):
    code, out, err = run(capsys, "preview", *PRODUCTS, "augment=light", "-o", "a.png", "--rows", "2")
    assert (code, out, err) == (0, "a.png\n", "")
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.width > picture.height  # two rows of eight cells


def test_every_kind_is_drawn(tmp_path):
    svg = read_texts(tmp_path, preview("augment=light"))
    for title in ("photo, augmented", "title, augmented", "pulse, augmented", "tabular, augmented"):
        assert f">{title}<" in svg
    assert "a blue mug $5" in svg
    assert "weight: 0" in svg
    assert "price: 0" in svg


def test_a_modality_without_an_augmentation_is_drawn_once(tmp_path):
    svg = read_texts(tmp_path, preview("augment.photo=trivial"))
    assert ">photo, augmented<" in svg
    assert ">title, augmented<" not in svg


def test_the_same_seed_draws_the_same_augmentation():
    first, again, different = (preview("augment=strong", f"seed={seed}") for seed in (0, 0, 1))
    photos = [rows.augmented.inputs["photo"] for rows in (first, again, different)]
    assert photos[0].equal(photos[1])
    assert not photos[0].equal(photos[2])


def test_missing_cells_say_so(tmp_path):
    assert "(missing)" in read_texts(tmp_path, preview(num_rows=37))


def test_without_augmentation_the_rows_are_drawn_and_a_note_says_how_to_see_one(capsys, tmp_path):
    code, out, err = run(capsys, "preview", *PRODUCTS)
    assert (code, out) == (0, "preview.png\n")
    assert err == "note: nothing is augmented; to see it, add for example augment=light\n"
    assert (tmp_path / "preview.png").is_file()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["preview", "-o", "a.pgn"], "-o a.pgn: '.pgn' is no format of a picture; did you mean '.png'? (there are "),
        (["preview", "-o", "no/a.png"], "-o no/a.png: there is no folder no\n"),
        (
            ["preview", "--rows", "0"],
            "argument --rows: 0 is not a whole number from 1 to 50 (see `mmrun data preview -h`)\n",
        ),
        (["preview", "--all"], "unrecognized arguments: --all (see `mmrun data preview -h`)\n"),
        (["preview", "augment=ligth"], "augment: no option 'ligth'; did you mean 'light'?"),
        (
            ["preview", *PRODUCTS, "augment.audio=light"],
            "augment: the run reads no kind that it augments (photo (image)",
        ),
        (["check"], "the following arguments are required: FILE (see `mmrun data check -h`)\n"),
        (["check", "rows.csv", "--rows", "3"], "unrecognized arguments: --rows 3 (see `mmrun data check -h`)\n"),
    ],
)
def test_what_cannot_be_drawn_is_refused(capsys, words, message):
    code, _, err = run(capsys, *words)
    assert code == 2
    assert " ".join(err.split()).startswith(f"mmrun: {' '.join(message.split())}")
