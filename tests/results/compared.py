"""Made-up runs, and the comparison of them."""

import pytest

from mmrun.results import selection
from mmrun.results.compare import Question
from mmrun.results.compare import compare as compare_runs
from tests.results.fabricate import finished


@pytest.fixture
def outputs(tmp_path):
    return tmp_path / "outputs"


def compare(folders, by, metric, against=None, paired=(), where=(), **options):
    runs, notices = selection.read_finished(folders)
    question = Question(metric, tuple(by), against, tuple(paired), **options)
    return compare_runs(selection.filter_runs(runs, where), question, notices)


def three_seeds(outputs, strategy, accuracies, **changes):
    return [finished(outputs, accuracy, strategy, seed, **changes) for seed, accuracy in enumerate(accuracies)]
