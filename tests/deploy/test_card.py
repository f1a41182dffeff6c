"""The model card says what the run folder holds, how sure it is, and what nobody tested."""

import shutil

import numpy as np
import pytest
import yaml
from huggingface_hub import ModelCard

from mmrun.deploy import card_metrics
from mmrun.deploy.card import read_source, write_card
from mmrun.deploy.card_metrics import bootstrap_metrics
from mmrun.results.files import read_json, write_json
from mmrun.results.folder import RunFolder
from mmrun.tasks.classification import Classification

SECTIONS = [
    "Model", "Data", "Budget and cost", "Metrics", "Subgroups", "Calibration", "Evidence", "Limits", "How to use it",
    "Environment",
]  # fmt: skip


@pytest.fixture
def run(moved_run, tmp_path, monkeypatch):
    """A run whose intervals are rough, and quick."""
    monkeypatch.setattr(card_metrics, "RESAMPLES", 5)
    return RunFolder(shutil.copytree(moved_run, tmp_path / "people"))


def edit(run, **changes):
    write_json(run.metrics_file, {**read_json(run.metrics_file), **changes})


def test_a_card_has_the_metadata_that_a_hub_reads(run):
    card = ModelCard(write_card(read_source(run, license="apache-2.0")))
    metadata = card.data.to_dict()
    assert metadata["library_name"] == "mmrun"
    assert metadata["license"] == "apache-2.0"
    assert metadata["tags"] == [
        "mmrun",
        "multimodal",
        "tabular",
        "text",
        "classification",
        "regression",
        "scratch",
        "concat",
    ]
    [result] = metadata["model-index"][0]["results"]
    values = {metric["type"]: metric["value"] for metric in result["metrics"]}
    assert values["label.accuracy"] == pytest.approx(run.read_metrics()["metrics"]["test"]["label.accuracy"], abs=1e-6)


def test_a_license_stands_there_only_if_it_is_given(run):
    assert "license" not in ModelCard(write_card(read_source(run))).data.to_dict()


def test_the_sections_of_a_card(run):
    text = write_card(read_source(run))
    assert [line[3:] for line in text.splitlines() if line.startswith("## ")] == SECTIONS
    assert (
        "A model that predicts `label` (classification: `a`, `b`) and `age` (regression) from `body` (tabular: " in text
    )
    assert "| test rows | 40 |" in text
    assert "Budget: 1 epochs, over all stages. Seed: 0." in text
    assert f"mmrun predict outputs/pulled/{run.name} rows.csv -o predictions.csv" in text


def test_limits_follow_from_the_run(run):
    limits = write_card(read_source(run)).split("## Limits\n\n")[1].split("\n\n")[0].splitlines()
    assert "- The test set is small: 40 rows." in limits
    assert "- It was not tested how the model predicts without one of its modalities, or with noise." in limits
    assert "- It is one run with one seed (0); training again with another one gives other metrics." in limits
    assert not any(line.startswith("- There is no interval") for line in limits)


def test_without_predictions_there_are_no_intervals_and_the_card_says_so(run):
    shutil.rmtree(run.predictions)
    text = write_card(read_source(run))
    assert "- There is no interval for label.accuracy." in text
    accuracy = next(line for line in text.splitlines() if line.startswith("| label.accuracy |"))
    assert accuracy.split(" | ")[2] == "-"


def test_names_of_a_stranger_cannot_become_markup(run):
    fitted = read_json(run.fitted_file)
    fitted["tasks"]["label"]["arguments"]["classes"] = ["a`</code><script>", "b\n# heading"]
    write_json(run.fitted_file, fitted)
    per_class = run.read_metrics()["per_class"]
    per_class["test"]["label"] = {"<script>|x": {"recall": 0.0, "count": 5.0}}
    edit(run, per_class=per_class)
    text = write_card(read_source(run))
    assert "`a'</code><script>`, `b # heading`" in text
    assert r"| \<script>\|x | 0.0000 | 5 |" in text
    assert r"- label: never predicted correctly in the test rows: \<script>\|x." in text


def test_a_name_cannot_end_the_metadata(run, tmp_path):
    hostile = RunFolder(shutil.copytree(run.path, tmp_path / "a: [b]"))
    edit(hostile, dataset={**hostile.read_metrics()["dataset"], "name": "x\n---\nlicense: mit"})
    text = write_card(read_source(hostile))
    metadata = yaml.safe_load(text.split("---\n")[1])
    assert metadata["model-index"][0]["name"] == "a: [b]"
    assert "license" not in metadata


def test_what_mmrun_eval_measured_is_told(shell, run):
    subsets = [{"present": ["body"], "metrics": {"label.accuracy": 0.5}}, {"present": [], "metrics": {}}]
    group = {"rows": 10.0, "label.accuracy": 0.25}
    evaluation = {
        "schema": 2, "metric_version": 1, "run": run.name, "split": "test", "rows": 40, "modalities": ["body", "note"],
        "saw_missing": False, "primary_metrics": ["label.accuracy"], "metrics": {}, "constant": {},
        "missing": {"absent": subsets}, "shapley": {}, "synergy": {}, "classes": {},
        "groups": {
            "label": {
                "column": "sex", "primary_metric": "label.accuracy", "groups": {"f": group, "": group}, "worst": "f",
            },
        },
    }  # fmt: skip
    write_json(run.evaluation_file, evaluation)
    text = write_card(read_source(run))
    assert "| body | 0.5000 |\n| none | - |" in text
    assert "| f | 10 | 0.2500 |\n| (empty) | 10 | 0.2500 |\n\nWorst: `f`." in text
    assert "- No training row lacked a modality: predictions without one are less reliable." in text


def test_evidence_is_that_of_a_report(shell, run):
    code, out, err = shell("card", run.path, "--evidence", run.path.parent)
    assert code == 0, err
    evidence = out.split("## Evidence\n\n")[1].split("\n\n")[0]
    assert evidence.startswith("- test/label.accuracy: scratch reaches ")
    assert "in one run; there is no baseline to compare it with." in evidence


def test_evidence_without_the_run_is_refused(shell, run, moved_run):
    other = RunFolder(shutil.copytree(run.path, shell.folder / "others" / "other"))
    write_json(other.metrics_file, {**read_json(other.metrics_file), "run": "other"})
    assert shell("card", moved_run, "--evidence", "others") == (
        2, "", "mmrun: --evidence others: does not hold the run moved\n"
    )  # fmt: skip


def test_a_card_is_written_to_a_file(shell, run):
    assert shell("card", run.path, "-o", "README.md") == (0, "", "wrote README.md\n")
    assert (shell.folder / "README.md").read_text() == write_card(read_source(run))


def test_an_interval_covers_the_metric():
    task = Classification("label", ["a", "b"], np.array([50, 50]))
    target = np.tile([0, 1], 50)
    right = np.arange(100) < 80
    scores = np.eye(2, dtype=np.float32)[np.where(right, target, 1 - target)]
    low, high = bootstrap_metrics(task, scores, target)["accuracy"]
    assert 0.68 < low < 0.76 < 0.84 < high < 0.91  # 0.8 +- 1.96 * sqrt(0.8 * 0.2 / 100)


def test_intervals_are_the_same_each_time(run):
    assert read_source(run).intervals == read_source(run).intervals != {}


def test_many_classes_have_an_interval_of_the_accuracy_alone():
    task = Classification("label", [str(name) for name in range(30)], np.ones(30))
    target = np.arange(30)
    assert bootstrap_metrics(task, np.eye(30, dtype=np.float32), target) == {"accuracy": (1.0, 1.0)}


def test_a_single_row_has_no_interval():
    task = Classification("label", ["a", "b"], np.array([1, 1]))
    assert bootstrap_metrics(task, np.eye(2, dtype=np.float32)[:1], np.array([0])) == {}
