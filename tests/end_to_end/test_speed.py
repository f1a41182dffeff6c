"""What makes training quicker or smaller changes nothing else."""

import json

import pytest
from safetensors.torch import load_file

from tests.end_to_end.conftest import weights
from tests.training.test_compile import needs_compiler

WORDS = ["modalities=[image]", "budget.steps=4", "budget.epochs=null"]


def test_activations_kept_elsewhere_give_the_same_bits(shell):
    plain, moved = shell.train(*WORDS), shell.train(*WORDS, "trainer.offload_activations=true")
    assert plain.name != moved.name
    assert weights(plain) == weights(moved)


def test_images_by_pixel_train_as_well(shell):
    plain, by_pixel = (shell.train(*WORDS, f"trainer.channels_last={wanted}") for wanted in ("auto", "true"))
    alike(plain, by_pixel, atol=1e-4)


@needs_compiler
def test_a_compiled_run_trains_as_well(shell):
    words = [*WORDS, "optimizer=sgd", "strategy.stages.train.grad_accum_steps=2"]
    plain, quick = shell.train(*words), shell.train(*words, "trainer.compile=true")
    alike(plain, quick, atol=1e-3)
    losses = [json.loads((run / "log.jsonl").read_text().splitlines()[-1])["train/loss"] for run in (plain, quick)]
    assert losses[1] == pytest.approx(losses[0], abs=1e-5)


def alike(one, other, atol):
    left, right = (load_file(run / "checkpoints/train/last/model.safetensors") for run in (one, other))
    assert list(left) == list(right)
    assert all(left[name].allclose(right[name], atol=atol) for name in left)


@pytest.mark.parametrize(
    ("word", "message"),
    [
        (
            "trainer.compile=yes",
            "mmrun: trainer.compile: 'yes' is not one of false, true, auto, reduce-overhead, max-autotune\n",
        ),
        ("trainer.channels_last=2", "mmrun: trainer.channels_last: 2 is not one of auto, false, true\n"),
    ],
)
def test_words_that_are_none_are_refused(shell, word, message):
    code, _, err = shell("train", *WORDS, word)
    assert (code, err) == (2, message)
