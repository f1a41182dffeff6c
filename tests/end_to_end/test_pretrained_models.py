"""Whole runs that start from a pretrained multimodal model."""

import json

import pytest
from safetensors.torch import load_file

from mmrun import compose
from mmrun.run import init_from
from mmrun.training import checkpoint


def test_a_pretrained_model_is_fine_tuned_as_a_whole(shell, tiny_model):
    shell.words = ["budget.steps=2", "trainer.batch_size=16", "trainer.progress=false", "dataset.labelled=0.05"]
    folder = shell.train("model=clip", f"model.path={tiny_model('clip')}")
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["choices"]["model"] == "clip"
    assert metrics["config"]["model"]["path"] == tiny_model("clip")
    before = load_file(f"{tiny_model('clip')}/model.safetensors")
    after = init_from.final_weights(*init_from.open_config(str(folder), "RUN"))
    for whole, part in (("visual_projection", "encoder.image"), ("text_projection", "encoder.text")):
        change = (after[f"{part}.net.projection.weight"] - before[f"{whole}.weight"]).abs().max()
        assert 0 < change < 0.1


@pytest.mark.parametrize("family", ["siglip", "flava", "clap"])
def test_every_family_trains_beside_encoders_of_the_other_modalities(shell, tiny_model, family):
    shell.words = ["budget.steps=1", "trainer.batch_size=8", "trainer.progress=false", "dataset.labelled=0.05"]
    folder = shell.train(f"model={family}", f"model.path={tiny_model(family)}", "strategy=component")
    metrics = json.loads((folder / "metrics.json").read_text())
    assert list(metrics["config"]["encoder"]) == ["image", "audio", "text"]


def test_a_pretrained_model_takes_the_place_of_pre_training(tiny_model):
    clip = ["dataset=digits", "model=clip", f"model.path={tiny_model('clip')}"]
    assert list(compose.load([*clip, "strategy=holistic"]).strategy.stages) == ["finetune"]
    assert list(compose.load([*clip, "strategy=holistic_pretrain"]).strategy.stages) == ["pretrain", "finetune"]
    assert list(compose.load(["dataset=digits", "strategy=holistic"]).strategy.stages) == ["pretrain", "finetune"]


def test_components_start_from_their_own_public_weights(shell, tiny_model):
    shell.words = ["budget.steps=1", "trainer.batch_size=8", "trainer.progress=false", "dataset.labelled=0.05"]
    models = []
    for modality, family in (("image", "clip"), ("text", "clip"), ("audio", "wav2vec2")):
        models.append(f"encoder.{modality}.model={tiny_model(family)}")
    folder = shell.train("strategy=component_pretrained", *models, "encoder.image.preprocess.size=32")
    metrics = json.loads((folder / "metrics.json").read_text())
    assert list(metrics["cost"]["stages"]) == ["finetune"]
    assert [metrics["choices"][f"encoder.{name}"] for name in ("image", "audio", "text")] == ["hf", "hf", "hf"]


def test_zero_shot_heads_are_fine_tuned_and_interpolated(shell, tiny_model):
    shell.words = ["budget.steps=4", "trainer.batch_size=8", "trainer.progress=false", "dataset.labelled=0.05"]
    clip = ["model=clip", f"model.path={tiny_model('clip')}", "modalities=[image,text]", "fusion=aligned"]
    folder = shell.train(*clip, "head.prompt=a photo of a {class}", "strategy=wise_ft")
    final = init_from.final_weights(*init_from.open_config(str(folder), "RUN"))
    probe, *_ = load_stage(folder, "probe")
    (trained,) = load_stage(folder, "finetune", "last")
    assert final["head.label.weight"].shape == (10, 24)
    assert not final["head.label.weight"].equal(probe["head.label.weight"])
    assert trained.keys() == final.keys()


def load_stage(folder, stage, which="best"):
    """Return the weights of a stage."""
    _, *weights = checkpoint.load(folder / "checkpoints" / stage / which, "model")
    return weights


def test_what_the_model_cannot_read_is_refused_before_the_run_has_a_folder(shell, tiny_model):
    code, _, err = shell("train", "model=siglip", f"model.path={tiny_model('clip')}")
    assert code == 2
    assert "holds a model of type clip, not siglip; choose model=clip" in err
    assert list(shell.folder.iterdir()) == []
