"""Predictions as files."""

import io
import json

import numpy as np

from mmrun.deploy.outputs import JsonWriter


def test_json_has_null_for_a_number_that_is_not_finite():
    stream = io.StringIO()
    JsonWriter(stream).write({"id": ["a", "b"], "price": np.array([1.5, np.nan])})
    assert list(map(json.loads, stream.getvalue().splitlines())) == [
        {"id": "a", "price": 1.5},
        {"id": "b", "price": None},
    ]
