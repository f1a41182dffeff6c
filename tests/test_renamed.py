"""Names of version 0.1.0: old overrides are rejected with the new name, old run folders are read."""

import json
import shutil
from pathlib import Path

import pytest

from mmrun import compose
from mmrun.cli import main
from mmrun.errors import ConfigError
from mmrun.renamed import list_corrections, translate_config, translate_train_state
from mmrun.results.folder import RunFolder
from mmrun.run.opening import reopen
from mmrun.training.callback import NullCallback
from mmrun.training.state import TrainState

OLD_RUN = Path(__file__).parent / "fixtures" / "run-0.1.0"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "strategy.stages.train.clip=1",
            "strategy.stages.train.clip: renamed in version 0.2.0; use strategy.stages.train.max_grad_norm",
        ),
        (
            "strategy.stages.train.objective.unimodal=1",
            "strategy.stages.train.objective.unimodal: renamed in version 0.2.0; "
            "use strategy.stages.train.objective.unimodal_weight",
        ),
        ("trainer.bucket=true", "trainer.bucket: renamed in version 0.2.0; use trainer.group_by_length"),
        (
            "encoder.text.prepare.max_tokens=8",
            "encoder.text.prepare.max_tokens: renamed in version 0.2.0; use encoder.text.preprocess.max_tokens",
        ),
        (
            "trainer.trackers=[tensorboard]",
            "trainer.trackers: removed; use callbacks=tensorboard (or wandb, mlflow)",
        ),
        (
            "strategy.stages.train.monitor=headline",
            "strategy.stages.train.monitor=headline: renamed in version 0.2.0; "
            "use strategy.stages.train.monitor=primary_metric",
        ),
    ],
)
def test_error_for_an_old_key_names_the_new_one(override, message):
    with pytest.raises(ConfigError) as raised:
        compose.load([override])
    assert str(raised.value) == message


@pytest.mark.parametrize(
    ("arguments", "new"),
    [
        (["train", "--again"], "--again: renamed in version 0.2.0; use --rerun"),
        (["eval", "RUN", "--ceilings=OTHER"], "--ceilings: renamed in version 0.2.0; use --unimodal-runs"),
        (["compare", "--across", "dataset.labelled"], "--across: renamed in version 0.2.0; use --curve-over"),
        (["report", "--over", "dataset"], "--over: renamed in version 0.2.0; use --rank-over"),
    ],
)
def test_error_for_an_old_flag_names_the_new_one(arguments, new, capsys):
    assert main(arguments) == 2
    assert capsys.readouterr().err == f"mmrun: {new}\n"


def test_run_of_version_0_1_is_read(tmp_path):
    shutil.copytree(OLD_RUN, tmp_path / "run")
    folder = RunFolder(tmp_path / "run")
    stage = compose.restore(folder.read_config()).strategy.stages["train"]
    assert (stage.max_grad_norm, stage.grad_accum_steps, stage.ema_decay, stage.unfreeze_top) == (1.0, 2, 0.9, 0.9)
    assert stage.monitor == "primary_metric"
    assert stage.objective["unimodal_weight"] == 0.3
    metrics = folder.read_metrics()
    assert metrics["primary_head"] == "fused"
    assert metrics["cost"]["stages"]["train"]["grad_accum_steps"] == 2
    assert metrics["cost"]["trainable_parameters"] == 546


@pytest.mark.parametrize(
    ("node", "positions"),
    [({}, "none"), ({"positions": "learned"}, "learned")],
)
def test_attention_of_a_run_from_before_positions_has_none(node, positions):
    fusion = {"_target_": "mmrun.models.fusions.attention.SelfAttention", "dim": 8, **node}
    assert translate_config({"fusion": fusion})["fusion"] == {**fusion, "positions": positions}


def test_run_of_version_0_1_is_evaluated(tmp_path, monkeypatch):
    from mmrun.run import metrics as run_metrics

    monkeypatch.setenv("MMRUN_CACHE", str(tmp_path / "cache"))
    shutil.copytree(OLD_RUN, tmp_path / "run")
    session = reopen(RunFolder(tmp_path / "run"), NullCallback())
    recorded = json.loads((OLD_RUN / "metrics.json").read_text())["metrics"]
    assert run_metrics.evaluate(session)["metrics"]["test"] == pytest.approx(recorded["test"])


def test_a_run_whose_formula_was_corrected_since_says_so(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    three = ["dataset=synthetic", "dataset.num_rows=60", "dataset.num_modalities=3", "dataset.kinds.c=tabular"]
    tiny = ["fusion=gated", "budget.steps=2", "trainer.batch_size=8", "cache=cache", "trainer.progress=false"]
    assert main(["train", *three, *tiny]) == 0
    folder = Path(capsys.readouterr().out.split()[-1])
    environment = json.loads((folder / "environment.json").read_text())
    environment["versions"]["mmrun"] = "0.1.0"
    (folder / "environment.json").write_text(json.dumps(environment))
    assert main(["eval", str(folder)]) == 0
    assert (
        "warning: fusion: Gated was corrected in version 0.2.0 (of three or more modalities, each has a sigmoid gate "
        "of its own), but its weights were trained by version 0.1.0: results differ from those recorded; train the run "
        "again with --rerun"
    ) in " ".join(capsys.readouterr().err.split())


def test_only_old_runs_of_corrected_methods_are_named():
    tcn = compose.load(["dataset=synthetic", "fusion=gated"])  # two modalities: the gates are as they were
    assert list_corrections(tcn, "0.1.0") == []
    tcn.encoder["a"] = {"_target_": "mmrun.models.encoders.series.Tcn"}
    (line,) = list_corrections(tcn, "0.1.0")
    assert line.startswith("encoder.a: Tcn was corrected in version 0.2.0 (each level ends in a ReLU after")
    assert list_corrections(tcn, "0.2.0") == list_corrections(tcn, None) == []


def test_checkpoint_of_version_0_1_is_resumed():
    saved = {"step": 3, "seconds": 1.0, "best": None, "best_step": 0, "stale": 0, "accumulate": 2}
    state = TrainState.from_state_dict(translate_train_state({**saved, "tally": {"sums": {"loss": 2.0}, "count": 1}}))
    assert (state.step, state.grad_accum_steps, state.should_stop) == (3, 2, False)
    assert state.losses.pop()["loss"].item() == 2.0


def test_the_table_encoder_of_an_older_run_keeps_its_layers():
    node = {"_target_": "mmrun.models.encoders.tabular.Mlp", "dims": [8]}
    assert translate_config({"encoder": {"cells": node}})["encoder"]["cells"] == {
        **node,
        "norm": True,
        "shortcut": False,
    }
