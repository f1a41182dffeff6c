"""What is learned before the task, chosen as a user types it."""

import pytest
from safetensors.torch import load_file

from tests.end_to_end.conftest import FEW, metrics

pytestmark = pytest.mark.usefixtures("few_digits")

PRETRAIN = "strategy.stages.pretrain.objective"
ALL = ["dataset.path=digits/all.csv", "modalities=[image,audio,text]"]


@pytest.mark.parametrize(
    "words",
    [
        [f"{PRETRAIN}=vae"],
        [f"{PRETRAIN}=mae"],
        [f"{PRETRAIN}=dino"],
        [f"{PRETRAIN}=moco"],
        [f"{PRETRAIN}=data2vec"],
        [f"{PRETRAIN}=wav2vec2"],
        [f"{PRETRAIN}=contrastive_audio", f"pretext/image@{PRETRAIN}.by_kind.image=autoencoder"],
        [f"{PRETRAIN}=simclr", f"pretext/text@{PRETRAIN}.by_kind.text=causal_lm", "encoder.text.bidirectional=false"],
    ],
    ids=lambda words: words[0].rpartition("=")[2],
)
def test_each_encoder_learns_apart_in_the_way_of_its_kind(shell, words):
    told = metrics(shell.train("strategy=component", *ALL, *words))
    assert list(told["cost"]["stages"]) == ["pretrain-image", "pretrain-audio", "pretrain-text", "finetune"]


def test_tables_learn_by_contrast(shell):
    words = ["dataset=synthetic", "dataset.num_rows=300", "strategy=component", f"{PRETRAIN}=scarf"]
    code, _, err = shell("train", "budget.epochs=1", *words)
    assert code == 0, err


@pytest.mark.parametrize("name", ["itm", "cross_modal_masked", "vicreg"])
def test_the_whole_model_learns_across_modalities(shell, name):
    folder = shell.train("strategy=holistic", *ALL, f"{PRETRAIN}={name}")
    assert list(metrics(folder)["cost"]["stages"]) == ["pretrain", "finetune"]
    assert load_file(folder / "checkpoints" / "pretrain" / "best" / "model.safetensors")


def test_an_encoder_that_sees_ahead_is_rejected(shell):
    code, _, err = shell("train", *FEW, "strategy=component", f"{PRETRAIN}=causal_lm")
    assert code == 2
    reason = "encoder.text: its tokens see the tokens that causal_lm has to predict; try encoder.text=gru "
    assert err.startswith(f"mmrun: {PRETRAIN}: {reason}")  # before any other encoder is trained


def test_joint_training_would_tell_two_views_what_they_are_to_find(shell):
    code, _, err = shell("train", *FEW, "strategy=holistic", f"{PRETRAIN}=simclr", f"{PRETRAIN}.joint=true")
    assert code == 2
    expected = (
        f"{PRETRAIN}.joint: the fused vector already contains what SimClr has to predict; choose another by_kind.image"
    )
    assert err == f"mmrun: {expected}\n"
