"""Augmentation, chosen on the shell."""

import pytest
from safetensors.torch import load_file

from mmrun import compose
from tests.end_to_end.conftest import FEW, metrics, weights

pytestmark = pytest.mark.usefixtures("few_digits")


@pytest.mark.parametrize("name", [name for name in compose.list_options("augment") if name != "none"])
def test_every_augmentation_trains_supervised_stages_alone(shell, train_once, name):
    plain = train_once("component", "budget.epochs=0.5")
    words = ["strategy=component", "budget.epochs=0.5", f"cache={train_once.cache}"]
    folder = shell.train(*words, f"augment={name}")
    told = metrics(folder)
    assert told["choices"]["augment"] == name
    assert told["cost"]["stages"]["pretrain-image"]["reused"]  # the stages before know nothing of it
    first, second = (load_file(run / "checkpoints/finetune/last/model.safetensors") for run in (plain, folder))
    assert first.keys() == second.keys()
    assert any(not first[key].equal(second[key]) for key in first)


def test_the_same_bits_again_with_a_balance_in_half_precision_and_micro_batches(shell):
    words = ["augment=strong", "balance=umt", "strategy.stages.train.grad_accum_steps=2", "trainer.precision=bf16"]
    first, again = shell.train(*words, "outputs=a"), shell.train(*words, "outputs=b")
    assert weights(first) == weights(again)
    assert shell("verify", first)[0] == 0


def test_features_take_the_place_of_inputs_that_are_not_augmented(shell):
    words = ["strategy=frozen", "dataset.labelled=0.1", "budget.epochs=1", "augment=light"]
    both, image = shell.train(*words), shell.train(*words, "augment.text=null")
    read = [metrics(run)["cost"]["stages"]["train"]["features"] for run in (both, image)]
    assert read[0] is None
    assert read[1]["modalities"] == ["text"]


def test_a_stage_is_reused_only_under_the_same_augmentation_of_its_kinds(shell):
    words = ["strategy.stages.train.reuse=true", "augment=light"]
    changes = ["outputs=a", "outputs=b", "augment.audio.gain=1", "augment.image.crop=0.9"]
    runs = [metrics(shell.train(*words, change)) for change in changes]
    assert [run["cost"]["stages"]["train"]["reused"] for run in runs] == [False, True, True, False]


@pytest.mark.parametrize(
    "words",
    [["augment.image=null", "augment.text=null"], ["strategy=component", "~strategy.stages.finetune"]],
)
def test_where_nothing_is_augmented_it_is_said(shell, words):
    told = (
        "mmrun: augment: no stage of this strategy trains a head on a kind that it augments "
        "(image (image), text (text)); drop augment\n"
    )
    assert shell("train", *FEW, "augment=light", *words)[::2] == (2, told)


def test_a_kind_that_there_is_not_is_refused(shell):
    told = (
        "mmrun: +augment.imgae=null: no modality or kind 'imgae'; did you mean 'image'? "
        "(there are image, text, audio, tabular, series, video, points)\n"
    )
    assert shell("train", *FEW, "augment=light", "+augment.imgae=null")[::2] == (2, told)


def test_none_is_a_run_without(shell):
    assert shell.train("augment=none") == shell.train()
