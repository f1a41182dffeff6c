"""Files of a run that are not what was written: one line that says how to mend it, and no result from them."""

import pytest

from mmrun.cli import main
from mmrun.errors import DamagedError
from mmrun.results.files import read_json, read_yaml, write_json
from mmrun.results.predictions import check_predictions, list_tasks, read_predictions
from tests.damage import DAMAGES, damage
from tests.results.fabricate import detail, finished, rewrite


@pytest.mark.parametrize(("before", "after"), [("0.875", "0.975"), ("scratch", "scratcH"), ("}", "]")])
def test_a_changed_byte_of_json_or_yaml_is_noticed(tmp_path, before, after):
    run = finished(tmp_path, accuracy=0.875)
    for file, read in ((run.metrics_file, read_json), (run.config_file, read_yaml)):
        content = file.read_text()
        if before in content:
            file.write_text(content.replace(before, after, 1))
            with pytest.raises(DamagedError, match=f"{file.name}: damaged, its bytes changed after they were written"):
                read(file)


def test_a_file_that_is_edited_on_purpose_is_read_once_its_digest_is_removed(tmp_path):
    run = finished(tmp_path, accuracy=0.875)
    lines = run.config_file.read_text().replace("seed: 0", "seed: 1").splitlines()
    run.config_file.write_text("\n".join(lines[1:]))
    assert run.read_config()["seed"] == 1
    lines = run.metrics_file.read_text().replace("0.875", "0.975").splitlines()
    assert lines[1].startswith(' "digest": "')
    run.metrics_file.write_text("\n".join([lines[0], *lines[2:]]))
    assert run.read_metrics()["metrics"]["test"]["accuracy"] == 0.975


def test_a_mapping_comes_back_without_its_digest(tmp_path):
    for value in ({"a": 1}, {}, [1, 2], {"b": {"digest": "x"}}):
        write_json(tmp_path / "value.json", value)
        assert read_json(tmp_path / "value.json") == value


@pytest.mark.parametrize("how", DAMAGES)
@pytest.mark.parametrize("name", ["log.jsonl", "predictions/test.parquet"])
def test_a_damaged_log_or_table_of_predictions_is_named(tmp_path, name, how):
    run = detail(finished(tmp_path, accuracy=0.875))
    run.finish(run.read_metrics())
    damage(run.path / name, how)
    with pytest.raises(DamagedError, match=rf"{name}: (damaged|cannot be read).*; remove "):
        run.verify(run.path / name)
    if name != "log.jsonl":
        for read in (lambda: list_tasks(run, "test"), lambda: read_predictions(run, "test", "label")):
            with pytest.raises(DamagedError, match=rf"{name}: (damaged|cannot be read)"):
                read()


@pytest.mark.parametrize("how", ["empty", "torn"])
def test_a_damaged_table_of_a_run_without_digests_is_named(tmp_path, how):
    run = detail(finished(tmp_path, accuracy=0.875))
    damage(run.predictions / "test.parquet", how)
    with pytest.raises(DamagedError, match=r"test\.parquet: damaged \(.*\); remove .*metrics\.json, then mmrun resume"):
        read_predictions(run, "test", "label")


READS = {
    "config.yaml": (["show"], ["resume"], ["eval"], ["verify"], ["predict", "x.csv"]),
    "metrics.json": (["show"],),
    "status.json": (["show"],),
    "environment.json": (["verify"],),
}
CASES = [(name, verb) for name, verbs in READS.items() for verb in verbs]


@pytest.mark.parametrize(("name", "verb"), CASES, ids=lambda value: value if isinstance(value, str) else value[0])
@pytest.mark.parametrize("how", ["empty", "torn", "flipped"])
def test_every_verb_says_it_in_one_line(tmp_path, monkeypatch, capsys, name, verb, how):
    monkeypatch.chdir(tmp_path)
    run = finished(tmp_path / "outputs", accuracy=0.875)
    if name == "status.json":
        run.metrics_file.unlink()
    damage(run.path / name, how)
    assert main([verb[0], str(run.path), *verb[1:]]) == 1
    [line] = capsys.readouterr().err.splitlines()
    assert f"{name}: damaged" in line


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"primary_head": None}, "predictions are stored without a primary head"),
        ({"per_class": {"test": {}}}, "test has predictions but no metrics of label"),
        ({"per_class": {}}, "test has predictions but no metrics of label"),
    ],
)
def test_metrics_that_do_not_fit_the_predictions_are_named(tmp_path, change, problem):
    run = detail(finished(tmp_path, accuracy=0.875))
    rewrite(run, **change)
    with pytest.raises(DamagedError, match=problem):
        check_predictions(run, run.read_metrics())


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"config__dataset": None}, "dataset: expected a mapping, not None"),
        ({"config__callbacks": {"x": None}}, "callbacks.x: expected a mapping, not None"),
        ({"metrics__test__accuracy": 1e308}, r"metrics.test.accuracy: expected a number or null, not 1e\+308"),
    ],
)
def test_metrics_that_no_comparison_can_read_are_named(tmp_path, change, problem):
    run = finished(tmp_path, accuracy=0.875)
    rewrite(run, **change)
    with pytest.raises(DamagedError, match=problem):
        run.read_metrics()
