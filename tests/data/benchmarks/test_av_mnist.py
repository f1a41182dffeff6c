"""AV-MNIST: the rows of a tiny folder of its layout, and what is wrong with others."""

from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from mmrun.errors import DataError
from tests.data.benchmarks.layouts import prepare


def read_image(content):
    with Image.open(BytesIO(content)) as image:
        return image.format, np.asarray(image)


def test_rows(tmp_path):
    rows = prepare("av_mnist", tmp_path).rows
    assert [row["split"] for row in rows] == ["train"] * 22 + ["val"] * 2 + ["test"] * 4
    assert list(rows[3]) == ["id", "image", "spectrogram", "digit", "split"]
    assert (rows[3]["id"], rows[3]["digit"]) == ("train-3", "1")


def test_images_hold_the_values_of_the_arrays(tmp_path):
    row = prepare("av_mnist", tmp_path).rows[3]
    images = np.load(tmp_path / "av_mnist" / "image" / "train_data.npy")
    sounds = np.load(tmp_path / "av_mnist" / "audio" / "train_data.npy")
    format, pixels = read_image(row["image"])
    assert (format, pixels.shape) == ("TIFF", (28, 28))
    assert np.array_equal(pixels, images[3].reshape(28, 28).astype(np.float32))
    format, pixels = read_image(row["spectrogram"])
    assert format == "PNG"
    assert np.array_equal(pixels, sounds[3])


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        ("train_labels.npy", np.zeros(3), r"have \[24, 24, 3\] rows; get the files again"),
        ("train_labels.npy", np.full(24, np.nan), "train_labels.npy: is not a list of digits"),
        ("image/train_data.npy", np.zeros((24, 785)), "a row has 785 values, which is no square image"),
        ("image/train_data.npy", np.array(["a"] * 24), "image/train_data.npy: is not an array of numbers"),
        (
            "audio/train_data.npy",
            np.array([{}] * 24),
            r"train_data.npy is damaged or not a numeric array \(ValueError\)",
        ),
    ],
)
def test_damaged_arrays(tmp_path, name, array, message):
    with pytest.raises(DataError, match=message):
        prepare("av_mnist", tmp_path, lambda folder: np.save(folder / name, array))
