"""Runs on rows that lack a modality: half of them in training, all in test, and more of one class."""

import csv
import json

import pytest

from mmrun import api
from mmrun.cli.result import print_result
from mmrun.errors import ConfigError, DataError
from mmrun.results.folder import RunFolder

SPLITS = ["train", "train", "train", "val", "test"]


def write_table(folder, lacks_text):
    """Write 60 rows of two modalities; a function of row, split and class says which have no text."""
    with (folder / "table.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["text", "size", "label", "split"])
        for row in range(60):
            label, split = row % 2, SPLITS[row // 2 % 5]
            text = "" if lacks_text(row, split, label) else ("bad awful", "good fine")[label]
            writer.writerow([text, f"{label + row % 7 / 5:.1f}", "ab"[label], split])


def train(folder, *overrides):
    overrides = ("budget.steps=2", "trainer.batch_size=16", "encoder.text=bow", *overrides)
    path = f"dataset.path={folder / 'table.csv'}"
    return api.train("dataset=manifest", path, f"outputs={folder}/runs", f"cache={folder}/cache", *overrides)


@pytest.mark.parametrize("policy", ["absent", "zero", "mean", "token", "generate", "drop"])
def test_half_of_the_training_rows_lack_a_modality(policy, tmp_path):
    write_table(tmp_path, lambda row, split, label: split == "train" and row // 10 % 2)
    run = train(tmp_path, f"missing={policy}")
    left = {"train": 0.0 if policy == "drop" else 0.5, "val": 0.0, "test": 0.0}
    assert run.metrics["dataset"]["missing"] == ({} if policy == "drop" else {"text": left})
    assert run.metrics["dataset"]["rows"]["train"] == (18 if policy == "drop" else 36)
    assert run.metrics["by_presence"] == {}
    complete, incomplete = run.predict([{"text": "good", "size": 1.0}, {"text": None, "size": 1.0}])
    assert set(complete) == set(incomplete)


def test_a_modality_that_every_test_row_lacks_is_named(tmp_path, capfd):
    write_table(tmp_path, lambda row, split, label: split == "test")
    path = f"dataset.path={tmp_path / 'table.csv'}"
    run = api.train(
        *("dataset=manifest", path, f"outputs={tmp_path}/runs", f"cache={tmp_path}/cache", "budget.steps=1"),
        progress=True,
    )
    assert (
        "note: text: missing in 0.0% of train, 0.0% of val, 100.0% of test rows; "
        "what it contributes cannot be measured on test rows"
    ) in capfd.readouterr().err
    assert run.metrics["dataset"]["missing"]["text"]["test"] == 1.0


def test_rows_that_are_not_missing_at_random_have_metrics_of_their_own(tmp_path, capsys):
    write_table(tmp_path, lambda row, split, label: label == 1 and row % 3 == 0)
    folder = RunFolder(train(tmp_path).path)
    metrics = json.loads(folder.metrics_file.read_text())
    patterns = metrics["by_presence"]["test"]
    assert [(pattern["present"], pattern["rows"]) for pattern in patterns] == [
        (["text", "tabular"], 10),
        (["tabular"], 2),
    ]
    print_result(folder)
    assert "test rows with   rows   accuracy" in capsys.readouterr().out
    total = sum(pattern["rows"] * pattern["metrics"]["accuracy"] for pattern in patterns)
    assert total / 12 == pytest.approx(metrics["metrics"]["test"]["accuracy"])


def test_a_modality_that_every_training_row_lacks_is_refused(tmp_path):
    write_table(tmp_path, lambda row, split, label: split == "train")
    with pytest.raises(DataError, match="dataset: text is missing in every training row, so nothing can be learned"):
        train(tmp_path)
    assert not (tmp_path / "runs").exists()


def test_a_typo_in_the_policy_is_refused(tmp_path):
    write_table(tmp_path, lambda row, split, label: False)
    with pytest.raises(ConfigError) as error:
        train(tmp_path, "missing=tokens")
    assert str(error.value) == (
        "missing: 'tokens' is not one of absent, zero, mean, token, generate, drop; did you mean 'token'?"
    )
