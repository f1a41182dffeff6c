"""Which evaluation.json counts."""

import pytest

from mmrun.results.evaluations import find_unevaluated, read_evaluation
from mmrun.results.files import read_json, write_json
from mmrun.results.selection import read_finished
from tests.results.fabricate import detail, finished


@pytest.fixture
def run(tmp_path):
    """A finished run with an evaluation of its test split."""
    detail(finished(tmp_path, 0.5))
    return read_finished([tmp_path])[0][0]


def test_an_evaluation_is_of_one_split(run):
    assert read_evaluation(run, "test")["split"] == "test"
    assert read_evaluation(run, "val") is None


@pytest.mark.parametrize("key", ["schema", "metric_version"])
def test_an_evaluation_of_another_version_does_not_count(run, tmp_path, key):
    file = next(tmp_path.rglob("evaluation.json"))
    write_json(file, {**read_json(file), key: 0})
    assert read_evaluation(run, "test") is None


def test_runs_without_noise_are_unevaluated(run, tmp_path):
    assert find_unevaluated([run], "test") == []
    file = next(tmp_path.rglob("evaluation.json"))
    evaluation = read_json(file)
    del evaluation["robustness"]
    write_json(file, evaluation)
    assert find_unevaluated([run], "test") == [run]
    assert find_unevaluated([{**run, "primary_head": "probe.image"}], "test") == []
