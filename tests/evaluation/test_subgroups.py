import numpy as np
import pytest

from mmrun.errors import ConfigError
from mmrun.evaluation.subgroups import by_group, column
from mmrun.tasks.classification import Classification

MANIFEST = "mmrun.data.sources.manifest.manifest"
TASK = Classification("label", ["a", "b"], np.array([1, 1]))


def test_the_group_with_the_worst_headline_figure():
    scores = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.7, 0.3], [0.9, 0.1]], dtype=np.float32)
    told = by_group(TASK, scores, np.array([0, 1, 1, 0, 0]), ["x", "x", "y", "y", "x"], "site")
    assert told["column"] == "site"
    assert list(told["groups"]) == ["x", "y"]
    assert [(g["rows"], g["accuracy"]) for g in told["groups"].values()] == [(3, 1.0), (2, 0.5)]
    assert told["worst"] == "y"


def test_a_group_of_which_nothing_is_known_is_not_the_worst():
    told = by_group(TASK, np.eye(2, dtype=np.float32), np.array([0, -100]), ["x", "y"], "site")
    assert told["groups"]["y"] == {"rows": 1}
    assert told["worst"] == "x"


def test_a_column_by_the_ids_of_the_rows_or_by_their_lines(tmp_path):
    file = tmp_path / "manifest.csv"
    file.write_text("name,site,label\np1,north,a\np2,,b\n")
    for path in (file, tmp_path):
        assert column({"_target_": MANIFEST, "path": str(path), "id": "name"}, "site") == {"p1": "north", "p2": ""}
    told = column({"_target_": MANIFEST, "path": str(file), "id": "id"}, "label")
    assert told == {"manifest.csv:2": "a", "manifest.csv:3": "b"}


def test_what_cannot_make_groups_is_refused(tmp_path):
    with pytest.raises(ConfigError) as caught:
        column({"_target_": "mmrun.data.sources.digits.digits"}, "site")
    assert str(caught.value) == (
        "--group site: this data set has no file with columns; only one made of a manifest has"
    )
    file = tmp_path / "rows.csv"
    file.write_text("site,label\nnorth,a\n")
    with pytest.raises(ConfigError) as caught:
        column({"_target_": MANIFEST, "path": str(file), "id": "id"}, "cite")
    assert str(caught.value) == ("--group cite: rows.csv has no such column; did you mean 'site'? (it has site, label)")
    with pytest.raises(ConfigError) as caught:
        by_group(TASK, np.zeros((101, 2)), np.zeros(101, int), [str(i) for i in range(101)], "id")
    assert str(caught.value) == "--group id: has 101 values in this split; a column of at most 100 makes groups"
