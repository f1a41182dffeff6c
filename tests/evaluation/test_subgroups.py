import numpy as np
import pytest

from mmrun.errors import ConfigError
from mmrun.evaluation.subgroups import compute_subgroup_metrics, read_column
from mmrun.tasks.classification import Classification

MANIFEST = "mmrun.data.sources.manifest.manifest"
TASK = Classification("label", ["a", "b"], np.array([1, 1]))


def test_the_group_with_the_worst_primary_metric():
    scores = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.7, 0.3], [0.9, 0.1]], dtype=np.float32)
    result = compute_subgroup_metrics(TASK, scores, np.array([0, 1, 1, 0, 0]), ["x", "x", "y", "y", "x"], "site")
    assert result["column"] == "site"
    assert list(result["groups"]) == ["x", "y"]
    assert [(g["rows"], g["accuracy"]) for g in result["groups"].values()] == [(3, 1.0), (2, 0.5)]
    assert result["worst"] == "y"


def test_a_group_without_visible_targets_is_not_the_worst():
    result = compute_subgroup_metrics(TASK, np.eye(2, dtype=np.float32), np.array([0, -100]), ["x", "y"], "site")
    assert result["groups"]["y"] == {"rows": 1}
    assert result["worst"] == "x"


def test_a_column_is_read_by_row_ids_or_by_lines(tmp_path):
    file = tmp_path / "manifest.csv"
    file.write_text("name,site,label\np1,north,a\np2,,b\n")
    for path in (file, tmp_path):
        assert read_column({"_target_": MANIFEST, "path": str(path), "id": "name"}, "site") == {"p1": "north", "p2": ""}
    values = read_column({"_target_": MANIFEST, "path": str(file), "id": "id"}, "label")
    assert values == {"manifest.csv:2": "a", "manifest.csv:3": "b"}


def test_columns_that_cannot_form_groups_raise_errors(tmp_path):
    with pytest.raises(ConfigError) as caught:
        read_column({"_target_": "mmrun.data.sources.digits.digits"}, "site")
    assert str(caught.value) == ("--group site: this data set has no columns to group by; only dataset=manifest has")
    file = tmp_path / "rows.csv"
    file.write_text("site,label\nnorth,a\n")
    with pytest.raises(ConfigError) as caught:
        read_column({"_target_": MANIFEST, "path": str(file), "id": "id"}, "cite")
    assert str(caught.value) == ("--group cite: rows.csv has no such column; did you mean 'site'? (it has site, label)")
    with pytest.raises(ConfigError) as caught:
        compute_subgroup_metrics(TASK, np.zeros((101, 2)), np.zeros(101, int), [str(i) for i in range(101)], "id")
    assert str(caught.value) == "--group id: has 101 values in this split; choose a column with at most 100"
