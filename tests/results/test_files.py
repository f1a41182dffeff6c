"""Files that are written whole, and errors that name them."""

import numpy as np
import pytest

from mmrun.errors import DataError
from mmrun.results.files import read_json
from mmrun.results.folder import RunFolder
from tests.results.fabricate import finished, started


def test_numpy_numbers_become_plain_and_non_finite_ones_null(tmp_path):
    folder = started(tmp_path)
    folder.finish({"metrics": {"test": {"accuracy": np.float32(0.5), "auroc": float("nan")}}, "rows": np.arange(2)})
    assert read_json(folder.metrics_file) == {
        "schema": 2,
        "metrics": {"test": {"accuracy": 0.5, "auroc": None}},
        "rows": [0, 1],
        "files": {},
    }


@pytest.mark.parametrize(
    ("file", "damage", "mend"),
    [
        ("metrics.json", '{"schema": 1,', r"remove it, then mmrun resume \S+ writes it again"),
        ("config.yaml", "seed: [0", "remove the run folder and train again"),
    ],
)
def test_a_damaged_file_is_named(tmp_path, file, damage, mend):
    folder = finished(tmp_path, accuracy=0.5)
    (folder.path / file).write_text(damage)
    with pytest.raises(DataError, match=rf"{file}: damaged, not valid (JSON|YAML) .*; {mend}"):
        folder.read_metrics() if file == "metrics.json" else folder.read_config()


def test_a_folder_that_is_not_a_run_is_an_error(tmp_path):
    with pytest.raises(
        DataError, match=r"metrics\.json: no such file; this is not a run folder, or the run did not get"
    ):
        RunFolder(tmp_path).read_metrics()
