"""Whole runs that start from a pretrained multimodal model."""

import json
import shutil

import pytest
from PIL import Image
from pyarrow import parquet
from safetensors.torch import load_file

from mmrun import compose
from mmrun.run import init_from
from mmrun.towers import FAMILIES
from mmrun.training import checkpoint


@pytest.fixture
def digits(shell, few_digits):
    """Type overrides that train for a step on digits of three modalities."""
    shell.words = ["dataset=manifest", "dataset.path=digits/all.csv", "trainer.batch_size=8", "trainer.progress=false"]


@pytest.mark.usefixtures("digits")
def test_a_pretrained_model_is_fine_tuned_as_a_whole(shell, tiny_model):
    shell.words.append("budget.steps=2")
    folder = shell.train("model=clip", f"model.path={tiny_model('clip')}")
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["choices"]["model"] == "clip"
    assert metrics["config"]["model"]["path"] == tiny_model("clip")
    before = load_file(f"{tiny_model('clip')}/model.safetensors")
    after = init_from.final_weights(*init_from.open_config(str(folder), "RUN"))
    for whole, part in (("visual_projection", "encoder.image"), ("text_projection", "encoder.text")):
        change = (after[f"{part}.net.projection.weight"] - before[f"{whole}.weight"]).abs().max()
        assert 0 < change < 0.1


@pytest.mark.usefixtures("digits")
@pytest.mark.parametrize("family", sorted({*FAMILIES} - {"clip"}))
def test_every_family_trains_beside_encoders_of_the_other_modalities(shell, tiny_model, family):
    shell.words.append("budget.steps=1")
    folder = shell.train(f"model={family}", f"model.path={tiny_model(family)}", "strategy=component")
    metrics = json.loads((folder / "metrics.json").read_text())
    assert list(metrics["config"]["encoder"]) == ["image", "audio", "text"]


def test_a_pretrained_model_takes_the_place_of_pre_training(tiny_model):
    clip = ["dataset=digits", "model=clip", f"model.path={tiny_model('clip')}"]
    assert list(compose.load([*clip, "strategy=holistic"]).strategy.stages) == ["finetune"]
    assert list(compose.load([*clip, "strategy=holistic_pretrain"]).strategy.stages) == ["pretrain", "finetune"]
    assert list(compose.load(["dataset=digits", "strategy=holistic"]).strategy.stages) == ["pretrain", "finetune"]


@pytest.mark.usefixtures("digits")
def test_components_start_from_their_own_public_weights(shell, tiny_model):
    shell.words.append("budget.steps=1")
    models = []
    for modality, family in (("image", "clip"), ("text", "clip"), ("audio", "wav2vec2")):
        models.append(f"encoder.{modality}.model={tiny_model(family)}")
    folder = shell.train("strategy=component_pretrained", *models, "encoder.image.preprocess.size=32")
    metrics = json.loads((folder / "metrics.json").read_text())
    assert list(metrics["cost"]["stages"]) == ["finetune"]
    assert [metrics["choices"][f"encoder.{name}"] for name in ("image", "audio", "text")] == ["hf", "hf", "hf"]


@pytest.mark.usefixtures("digits")
def test_zero_shot_heads_are_fine_tuned_and_interpolated(shell, tiny_model):
    shell.words.append("budget.steps=4")
    clip = ["model=clip", f"model.path={tiny_model('clip')}", "modalities=[image,text]", "fusion=aligned"]
    folder = shell.train(*clip, "head.prompt=a photo of a {class}", "strategy=wise_ft")
    final = init_from.final_weights(*init_from.open_config(str(folder), "RUN"))
    probe, *_ = load_stage(folder, "probe")
    (trained,) = load_stage(folder, "finetune", "last")
    assert final["head.label.weight"].shape == (10, 24)
    assert not final["head.label.weight"].equal(probe["head.label.weight"])
    assert trained.keys() == final.keys()


def test_prompt_tuning_learns_context_alone_and_predicts_without_data_and_model(shell, tiny_model, tmp_path):
    model = shutil.copytree(tiny_model("clip"), tmp_path / "clip")
    for number in range(16):
        Image.new("L", (8, 8), 16 * number).save(tmp_path / f"{number}.png")
    split = ("train", "val", "test", "train")
    rows = [f"{n}.png,{('dark', 'bright')[n // 8]},{split[n % 4]}" for n in range(16)]
    (tmp_path / "rows.csv").write_text("\n".join(["image,label,split", *rows]))
    shell.words = ["dataset=manifest", "dataset.path=rows.csv", "budget.steps=2", "trainer.progress=false"]
    tower = [
        "encoder.image=tower",
        f"encoder.image.model={model}",
        "encoder.image.preprocess.size=32",
        "fusion=aligned",
    ]
    head = ["strategy.head.context=3", "strategy.head.class_specific=true", "head.prompt=a {class} picture"]
    folder = shell.train("strategy=prompt_tuning", *tower, *head)
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["cost"]["stages"]["train"]["trainable_parameters"] == 2 * 3 * 32
    (final,) = load_stage(folder, "train")
    before = load_file(model / "model.safetensors")
    assert final["encoder.image.net.projection.weight"].equal(before["visual_projection.weight"])
    assert final["head.label.tower.net.projection.weight"].equal(before["text_projection.weight"])
    shutil.rmtree(model)
    (tmp_path / "rows.csv").unlink()
    moved = folder.rename(tmp_path / "moved")
    (tmp_path / "new.csv").write_text("image\n" + "".join(f"{n}.png\n" for n in range(16) if split[n % 4] == "test"))
    code, _, err = shell("predict", moved, "new.csv", "-o", "out.parquet")
    assert (code, err) == (0, "")
    table = parquet.read_table(tmp_path / "out.parquet").to_pydict()
    stored = parquet.read_table(moved / "predictions" / "test.parquet").to_pydict()
    predicted = zip(table["label=bright"], table["label=dark"], strict=True)
    assert [list(scores) for scores in predicted] == stored["label.scores"]


def load_stage(folder, stage, which="best"):
    """Return the weights of a stage."""
    _, *weights = checkpoint.load(folder / "checkpoints" / stage / which, "model")
    return weights


def test_what_the_model_cannot_read_is_refused_before_the_run_has_a_folder(shell, tiny_model):
    code, _, err = shell("train", "model=siglip", f"model.path={tiny_model('clip')}")
    assert code == 2
    assert "holds a model of type clip, not siglip; choose model=clip" in err
    assert list(shell.folder.iterdir()) == []
