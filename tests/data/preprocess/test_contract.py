"""What is promised for every preprocessor."""

import json

import numpy as np
import pytest

from mmrun.data.preprocess.audio import Waveform
from mmrun.data.preprocess.image import Pixels
from mmrun.data.preprocess.points import Points
from mmrun.data.preprocess.series import Steps
from mmrun.data.preprocess.tabular import Cells
from mmrun.data.preprocess.text import Tokens
from mmrun.data.preprocess.video import Frames
from tests.data.preprocess.fitted import TEXTS, fitted


@pytest.mark.parametrize(
    ("preprocessor", "blank", "kind", "values"),
    [
        (Pixels(8), Pixels(1), "image", [np.zeros((3, 8, 8), dtype=np.uint8)]),
        (Tokens(60, 12), Tokens(), "text", TEXTS),
        (Waveform(8000, 0.1), Waveform(1, 1), "audio", [(np.ones(300, dtype=np.int16), 8000)]),
        (Cells(), Cells(), "tabular", [{"x": 1.0, "c": "a"}, {"x": 4.0, "c": "b"}]),
        (Steps(4), Steps(1), "series", [[1, 5, 3]]),
        (Points(4, keep_scale=True), Points(1), "points", [np.arange(24.0).reshape(6, 4), np.eye(4)]),
        (Points(scale="training"), Points(1), "points", [np.arange(24.0).reshape(6, 4), np.eye(4)]),
        (Frames(2, 4), Frames(1, 1), "video", [np.zeros((3, 1, 4, 4), dtype=np.uint8)]),
    ],
)
def test_a_restored_preprocessor_decodes_the_same(preprocessor, blank, kind, values):
    fitted(preprocessor, kind, values)
    blank.restore(json.loads(json.dumps(preprocessor.state())))
    assert blank.metadata == preprocessor.metadata
    assert blank.state() == preprocessor.state()
    for name, array in preprocessor.decode(values[0]).items():
        assert (blank.decode(values[0])[name] == array).all()
