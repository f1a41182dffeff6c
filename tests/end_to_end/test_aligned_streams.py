"""Rows that are parts of two long series, from training to predictions of a file, of rows in memory and of ONNX."""

import csv
import subprocess
import sys

import numpy as np
import pytest

import mmrun
from mmrun.errors import DataError
from mmrun.testing.shifted_streams import write_shifted_streams

STREAMS = {"a": "[-0.5,0.5]", "b": "[-5,1]"}
SMALL = ["fusion=cross_attention", "fusion.positions=rotary", "fusion.dim=8", "fusion.num_heads=2", "budget.steps=2"]


@pytest.fixture
def run(shell):
    write_shifted_streams(shell.folder, num_rows=40)
    words = ["dataset=streams.csv", "dataset.target=follows", *SMALL]
    for name, window in STREAMS.items():
        align = f"dataset.align.{name}"
        words += [f"{align}.time=at", f"{align}.window={window}", f"{align}.rate=10", f"encoder.{name}.channels=[8]"]
        words += [f"encoder.{name}.kernels=[3]"]
    code, _, err = shell("train", *words)
    assert code == 0, err
    return mmrun.load(next(shell.folder.glob("outputs/*/*")))


def read_dicts(path) -> list[dict[str, str]]:
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def list_scores(predicted) -> list[float]:
    return [float(row["follows=1"]) for row in predicted]


def test_a_file_and_its_rows_in_memory_are_predicted_alike(shell, run):
    of_file = run.predict("streams.csv")
    assert len(of_file) == 40
    assert list_scores(run.predict(read_dicts("streams.csv"))) == pytest.approx(list_scores(of_file), abs=1e-6)
    assert list_scores(run.predict([{"a": np.zeros((1, 10)), "b": np.zeros((1, 60))}])) != list_scores(of_file[:1])


BAD_ROWS = [
    ({"a": "a.csv"}, "row 0: a names a stream; add 'at', the time of the row in it"),
    (
        {"a": "a.csv", "at": "noon"},
        "row:0: column 'at': 'noon' is not a time; write seconds, or 2024-01-31 10:00:00.5",
    ),
    (
        {"a": "aa.csv", "at": 4},
        "row:0: column 'a': 'aa.csv' does not exist; correct the name, or set dataset.root=FOLDER",
    ),
    (
        {"a": "a.csv", "at": 900},
        "a: 1 of 1 rows have nothing at their time, first row:0: 900 s, in a stream from 0 to 81.99 s; "
        "dataset.align.a.offset moves the clock of its streams",
    ),
    ({"a": ["x"]}, "row 0: a: is not numbers; pass an array, or the Path of a file"),
]


def test_rows_in_memory_that_cannot_be_read(run):
    for row, message in BAD_ROWS:
        with pytest.raises(DataError) as caught:
            run.predict([row])
        assert str(caught.value) == message


def test_the_exported_script_reads_the_same_windows(shell, run):
    pytest.importorskip("onnxscript")
    code, _, err = shell("export", str(run.path), "--format", "onnx", "-o", "exported")
    assert code == 0, err
    subprocess.run([sys.executable, "exported/predict_onnx.py", "streams.csv", "-o", "onnx.csv"], check=True)
    predicted = read_dicts("onnx.csv")
    assert list_scores(predicted) == pytest.approx(list_scores(run.predict("streams.csv")), abs=1e-4)
