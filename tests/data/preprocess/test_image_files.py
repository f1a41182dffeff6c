"""Headers and arrays of image files."""

import numpy as np
import pytest
from PIL import Image

from mmrun.data.preprocess.image_files import read_header
from mmrun.errors import DataError


@pytest.mark.parametrize("suffix", ["png", "gif", "tif", "jpg"])
def test_grey_files_are_told_by_their_headers(tmp_path, suffix):
    ramp = np.arange(64, dtype=np.uint8).reshape(8, 8) * 4
    Image.fromarray(ramp).save(tmp_path / f"grey.{suffix}")
    assert read_header(tmp_path / f"grey.{suffix}").channels == 1
    Image.fromarray(np.dstack([ramp, ramp.T, ramp])).save(tmp_path / f"colour.{suffix}")
    assert read_header(tmp_path / f"colour.{suffix}").channels == 3


def test_arrays_that_are_no_images(tmp_path):
    np.save(tmp_path / "last.npy", np.zeros((8, 8, 3)))
    with pytest.raises(DataError) as error:
        read_header(tmp_path / "last.npy")
    assert str(error.value) == (
        "last.npy is float64 [8, 8, 3]; its channels must come first: [channels, height, width]"
    )
    with pytest.raises(DataError) as error:
        read_header(np.zeros(3))
    assert str(error.value) == "the image is float64 [3], but must be numbers [height, width] or [channels, ...]"
