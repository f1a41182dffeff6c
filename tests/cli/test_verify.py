"""mmrun verify."""

import re

from safetensors.torch import load_file, save_file

from mmrun.digests import write_digests


def test_each_stage_is_bit_identical(shell):
    folder = shell.train("strategy=component")
    for words, stage in [([], "finetune"), (["--stage", "pretrain-image"], "pretrain-image")]:
        before = sorted(folder.rglob("*"))
        code, out, _ = shell("verify", folder, *words)
        assert code == 0
        assert out.startswith(f"{folder}: {stage} trained again: identical, sha256 ")
        assert sorted(folder.rglob("*")) == before

    file = folder / "checkpoints/finetune/best/model.safetensors"
    weights = load_file(file)
    weights["head.label.bias"][3] += 0.25
    save_file(weights, file)
    write_digests(file.parent)
    environment = folder / "environment.json"
    text = re.sub(r' "digest": "\w+",\n', "", environment.read_text())
    environment.write_text(text.replace('"python": "', '"python": "0.'))
    code, out, err = shell("verify", folder)
    assert code == 1, err
    difference = f"different in 1 of {len(weights)} tensors, at most 0.25 apart: head.label.bias"
    assert out.startswith(f"{folder}: finetune trained again: {difference}"), err
    assert "the environment differs: python was 0.3." in err


def test_run_that_cannot_be_verified(shell):
    folder = shell.train("budget.epochs=null", "budget.seconds=0.1")
    assert shell("verify", folder)[::2] == (
        2,
        "mmrun: this run cannot be repeated bit for bit: a budget in seconds ends after a different step each time\n",
    )
    folder = shell.train()
    code, _, err = shell("verify", folder, "--stage", "trian")
    assert (code, err) == (2, "mmrun: --stage: no stage 'trian'; did you mean 'train'? (the run has train)\n")


def test_a_run_that_trained_together_with_others_is_not_repeated(shell):
    overrides = ["dataset=synthetic", "seed=0,1", "trainer.vectorize=true", "budget.steps=3", "trainer.progress=false"]
    assert shell("train", "-m", *overrides)[0] == 0
    code, _, err = shell("verify", "synthetic-scratch-s0")
    note = "trainer.vectorize: a run that trained together with others differs, trained alone, by its noise"
    assert (code, note in err) == (1, True)
