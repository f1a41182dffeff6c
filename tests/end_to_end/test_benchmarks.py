"""Tiny folders of named benchmarks, trained on with the command that `mmrun data prepare` shows."""

import json
import shlex

import pytest

from tests.data.benchmarks.layouts import LAYOUTS


@pytest.mark.parametrize(
    ("name", "encoders"),
    [
        ("crema_d", {"audio": "logmel_cnn", "image": "cnn"}),  # split by speaker
        ("av_mnist", {"image": "cnn", "spectrogram": "cnn"}),  # images in the cells of a Parquet file
        ("mimic_cxr", {"image": "cnn", "indication": "gru", "vitals": "mlp"}),  # several labels, missing vital signs
    ],
)
def test_the_shown_command_trains(shell, name, encoders):
    LAYOUTS[name](shell.folder / "source")
    code, out, err = shell("data", "prepare", name, "--source", "source", "--format", "json")
    assert (code, err) == (0, "")
    command = shlex.split(json.loads(out)["train"])[1:]
    code, out, err = shell(*command, "budget.epochs=1", "trainer.batch_size=4", "trainer.progress=false")
    assert code == 0, err
    choices = json.loads((shell.folder / out.split()[-1] / "metrics.json").read_text())["choices"]
    assert {key: choices[f"encoder.{key}"] for key in encoders} == encoders
