"""Whole runs that start from a pretrained multimodal model."""

import json

import pytest
from safetensors.torch import load_file

from mmrun.run import init_from


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


def test_what_the_model_cannot_read_is_refused_before_the_run_has_a_folder(shell, tiny_model):
    code, _, err = shell("train", "model=siglip", f"model.path={tiny_model('clip')}")
    assert code == 2
    assert "holds a model of type clip, not siglip; choose model=clip" in err
    assert list(shell.folder.iterdir()) == []
