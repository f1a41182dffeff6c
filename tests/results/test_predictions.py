import numpy as np
import pytest
from pyarrow import parquet

from mmrun.errors import DataError
from mmrun.head import FUSED, Head
from mmrun.results.predictions import list_tasks, parse_primary_head, read_predictions, write_predictions
from tests.results.fabricate import finished, started


def test_predictions_are_read_back(tmp_path):
    run = finished(tmp_path, 0.5)
    scores = np.array([[0.1, 0.9], [0.7, 0.3]], np.float32)
    targets = {"label": np.array([1, 0]), "tags": np.array([[1.0, np.nan], [0.0, 1.0]]), "age": np.array([3.0, np.nan])}
    outputs = {"label": scores, "label/image": scores[::-1], "tags": scores, "age": scores[:, :1]}
    write_predictions(run, "test", ["a", "b"], targets, outputs)
    assert list_tasks(run, "test") == ["label", "tags", "age"]
    for task, target in targets.items():
        predictions = read_predictions(run, "test", task)
        assert predictions.ids == ["a", "b"]
        assert predictions.scores.tolist() == outputs[task].tolist()
        assert np.array_equal(predictions.target, target, equal_nan=target.dtype.kind == "f")
        assert (predictions.scores.dtype, predictions.target.dtype) == (np.float32, target.dtype)
    assert read_predictions(run, "test", "label", Head("image")).scores.tolist() == scores[::-1].tolist()


def test_the_primary_head_is_the_fused_one_or_a_probe():
    assert parse_primary_head({"primary_head": "fused"}) == FUSED
    assert parse_primary_head({"primary_head": "probe.image"}) == Head("image")


def test_a_run_without_predictions(tmp_path):
    run = finished(tmp_path, 0.5)
    file = run.predictions / "test.parquet"
    with pytest.raises(DataError, match=f"^{file}: no such file; the run stored no predictions of the test rows$"):
        list_tasks(run, "test")


def test_predictions_are_a_table_of_ids_targets_and_scores(tmp_path):
    folder = started(tmp_path)
    scores = np.array([[0.25, 0.75], [0.5, 0.5]], dtype=np.float32)
    write_predictions(folder, "test", ["a", "b"], {"label": np.array([1, 0])}, {"label": scores, "label/image": scores})
    assert parquet.read_table(folder.predictions / "test.parquet").to_pydict() == {
        "id": ["a", "b"],
        "label.target": [1, 0],
        "label.scores": [[0.25, 0.75], [0.5, 0.5]],
        "label/image.scores": [[0.25, 0.75], [0.5, 0.5]],
    }
