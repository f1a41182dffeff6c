"""Two sensors whose clocks differ: once they are aligned, the lag between their pulses tells the class."""

import numpy as np
import pytest

from mmrun.data.sources.manifest import manifest
from mmrun.testing.shifted_streams import LAG, OFFSET, main


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shifted")
    main([str(folder)])
    return folder


def measure_accuracy(folder, offset: float) -> float:
    """Return the accuracy of the rule that class 1 has the lag."""
    window = {"time": "at", "window": [-0.5, 0.5], "rate": 40}
    table = manifest(
        str(folder / "streams.csv"), target="follows", align={"a": window, "b": {**window, "offset": offset}}
    )
    steps = {}
    for name, column in table.columns.items():
        windows = [np.full((1, 40), np.nan) if value is None else value for value in column.values]
        steps[name] = np.nan_to_num(np.concatenate(windows)).argmax(axis=1)
    has_lag = abs((steps["b"] - steps["a"]) / 40 - LAG) < 0.06
    return float((has_lag == table.targets["follows"].values).mean())


def test_the_class_is_seen_once_the_clocks_agree(folder):
    assert measure_accuracy(folder, OFFSET) > 0.99


def test_without_the_offset_a_row_sees_the_pulse_of_another_one(folder):
    assert measure_accuracy(folder, 0.0) < 0.6
