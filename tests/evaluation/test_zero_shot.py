"""Digits named by words alone: no stage that `--zero-shot` uses has seen a label."""

import json
from pathlib import Path

WORDS = "zero,one,two,three,four,five,six,seven,eight,nine"
CLEAN = [
    "dataset.text_wrong=0", "dataset.text_typos=0", "dataset.languages=[en]", "dataset.image_noise=0.05",
    "dataset.image_occlusion=0.05",
]  # fmt: skip
ALIGNED = [
    "strategy=holistic", "strategy.stages.pretrain.objective=contrastive", "strategy.stages.pretrain.train=[encoder]",
]  # fmt: skip


def test_words_name_pictures(shell):
    code, out, err = shell(
        "train", *ALIGNED, *CLEAN, "modalities=[image,text]", "encoder.image=lenet", "encoder.text=textcnn",
        "strategy.stages.pretrain.share=4.5", "optimizer.lr=3e-3", "budget.epochs=4",
    )  # fmt: skip
    assert code == 0, err
    run = Path(out.split()[-1])
    found = json.loads(shell("eval", run, "--zero-shot", WORDS, "--format", "json")[1])
    assert (found["stage"], found["split"]) == ("pretrain", "test")
    assert found["metrics"]["image"]["accuracy"] > 0.85  # by chance 0.1

    code, out, err = shell("eval", run, "--zero-shot", "{}")
    assert out.split()[:2] == ["modality", "accuracy"]
    assert err == "test rows, classified by the prompts 0, 1, 2, 3, 4, 5, 6, 7, 8, 9 after pretrain\n"

    told = "mmrun: --zero-shot: 2 prompts for 10 classes (0, 1, 2, 3, 4, 5, 6, 7, 8, 9); pass one per class, separated"
    code, _, err = shell("eval", run, "--zero-shot", "zero,one")
    assert (code, err.startswith(told)) == (2, True)


def test_without_an_aligned_stage_there_is_nothing_to_name_by(shell):
    run = shell.train("strategy=scratch")
    assert shell("eval", run, "--zero-shot", WORDS)[::2] == (
        2,
        f"mmrun: --zero-shot: no stage of {run.name} aligned text with another modality; "
        "train a run of strategy=contrastive_then_finetune\n",
    )
