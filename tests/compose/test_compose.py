"""Overrides, their errors, and the composed config."""

import pytest

from mmrun import compose
from mmrun.cli import main

STRATEGIES = "component, frozen, holistic, scratch, unimodal"


def error_message(capsys, *arguments):
    assert main(["train", *arguments]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") <= 2
    return err.removeprefix("mmrun: ").strip()


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ("strategy.stages.train.lrr=3", "no key 'strategy.stages.train.lrr'; did you mean 'lr'? ("),
        ("epochs=3", "no key 'epochs'; did you mean 'budget.epochs'? (a run has "),
        ("monitor=acuracy", "no key 'monitor'; did you mean 'strategy.stages.STAGE.monitor'? (a run has "),
        (
            "strategy.stages.train.monitor=test/f1_macro",
            "strategy.stages.train.monitor: test/f1_macro cannot select weights: validation rows do, so that test rows "
            "stay unseen; use f1_macro",
        ),
        ("stratgy=component", "no key 'stratgy'; did you mean 'strategy'? ("),
        ("strategy.stages.trian.lr=3", "no key 'strategy.stages.trian'; did you mean 'train'? ("),
        ("optimizer.lrr=3", "no key 'optimizer.lrr'; did you mean 'lr'? ("),
        ("encoder.image.kernel=3", "no key 'encoder.image.kernel'; did you mean 'kernels'? ("),
        ("encoder.vision=cnn", "no key 'encoder.vision' (encoder has image, audio, text)"),
        ("balance.unimodal_weight=2", "no key 'balance.unimodal_weight': balance has no keys"),
        ("encoder.image=lennet", "encoder.image: no option 'lennet' in encoder.image; did you mean 'lenet'? ("),
        ("dataset=digts", "dataset: no option 'digts'; did you mean 'digits'? ("),
        ("fusion=gatd", "fusion: no option 'gatd'; did you mean 'gated'? ("),
        (
            "strategy.stages.train.objective=tsk",
            "strategy.stages.train.objective: no option 'tsk' in objective; did you",
        ),
        ("seed=abc", "seed: 'abc' is not a whole number from 0 to 4294967295"),
        ("trainer.precision=fp8", "trainer.precision: 'fp8' is not one of fp32, bf16, fp16"),
        ("trainer.batch_size=0", "trainer.batch_size: 0 is not a whole number above 0 or auto"),
        (
            "strategy.stages.train.rows=some",
            "strategy.stages.train.rows: 'some' is not one of labelled, all, unlabelled",
        ),
        ("dataset.labelled=0", "dataset.labelled: 0 is not a number above 0 and up to 1"),
        ("budget.epochs=-1", "budget.epochs: -1 is not a number above 0"),
        ("modalities=[image,smell]", "modalities: the data set has no 'smell' (it has image, audio, text)"),
        (
            "strategy.stages.train.train=[encodr]",
            "strategy.stages.train.train: 'encodr' matches no parameter (the model has ",
        ),
        ("+optimizer.foo=1", "optimizer.foo: torch.optim.AdamW takes no such argument"),
        ("fusion._target_=os.system", "fusion._target_: 'os.system' is not in mmrun.models.fusions; to use a class"),
        ("seed", "'seed' cannot be read; write key=value"),
        ("experiment=a(b", "'experiment=a(b' cannot be read; to set it literally, type 'experiment=\"a(b\"'"),
        ("dataset.größe=3", "'dataset.größe=3' cannot be read; its key may hold a-z, 0-9, _ and points"),
        ("~strategy.stages.pretrain", "Could not delete from config. 'strategy.stages.pretrain' does not exist."),
        (
            "strategy.stages.trian.objective=task",
            "strategy.stages.trian.objective: no option of objective stands there that could be replaced; mmrun train",
        ),
        ("callbacks=tensorbord", "callbacks: no option 'tensorbord'; did you mean 'tensorboard'? ("),
        (
            "callbacks=tensorboard callbacks.tensorboard.name=tensorbord",
            "callbacks: no tracker 'tensorbord'; did you mean 'tensorboard'? (",
        ),
        ("callbacks=wandb", "callbacks: wandb is not installed; "),
        ("--nosuch", "unrecognized arguments: --nosuch (see `mmrun train -h`)"),
        ("--config-dir=nowhere", "--config-dir "),
    ],
)
def test_wrong_override_is_a_one_line_error(capsys, tmp_path, monkeypatch, overrides, message):
    monkeypatch.chdir(tmp_path)
    assert error_message(capsys, *overrides.split()).startswith(message)
    assert list(tmp_path.iterdir()) == []


def test_a_file_alone_is_told_its_key(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my shop.csv").touch()
    assert main(["plan", "my shop.csv"]) == 2
    assert capsys.readouterr().err == "mmrun: 'my shop.csv' cannot be read; write 'dataset=my shop.csv'\n"


@pytest.mark.parametrize(
    ("override", "tag"),
    [("tag=pilot", "pilot"), ("tag=2024_01", "2024_01"), ("tag=[pilot,v2]", ["pilot", "v2"]), ("tag=a,b", ["a", "b"])],
)
def test_tags_are_texts(override, tag):
    assert compose.load([override]).tag == tag


def test_the_commas_of_a_note_separate_no_runs():
    (overrides,) = compose.expand_sweep(["note=first, small budget", "tag=a,b"])
    config = compose.load(overrides)
    assert (config.note, config.tag) == ("first, small budget", ["a", "b"])


def test_two_budgets_are_rejected(capsys):
    message = "budget: both epochs and steps are set; add budget.epochs=null to drop one"
    assert error_message(capsys, "budget.epochs=1", "budget.steps=3") == message


def test_composed_config_is_printed(capsys):
    assert (
        main(["train", "--cfg", "job", "strategy=component", "modalities=[image]", "encoder.image.kernels=[3,3,7]"])
        == 0
    )
    out = capsys.readouterr().out
    assert "for_each: modality" in out
    assert "- 7" in out
    assert "  audio:" not in out.split("encoder:")[1].split("fusion:")[0]


def test_configs_of_the_working_folder_are_searched_first(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for folder, rate in (("configs", 0.125), ("other", 0.25)):
        file = tmp_path / folder / "optimizer" / "adamw.yaml"
        file.parent.mkdir(parents=True)
        file.write_text(f"_target_: torch.optim.AdamW\nlr: {rate}\n")
    assert main(["train", "--cfg", "job"]) == 0
    assert "lr: 0.125" in capsys.readouterr().out
    assert main(["train", "--cfg", "job", "--config-dir", "other"]) == 0
    assert "lr: 0.25" in capsys.readouterr().out


def test_flags_may_stand_between_overrides(capsys):
    assert main(["train", "seed=7", "--cfg", "job", "budget.steps=3"]) == 0
    out = capsys.readouterr().out
    assert "seed: 7" in out
    assert "steps: 3" in out


EXPERIMENTS = {"avdigits": ["image", "audio"], "easy_vqa": ["image", "text"]}  # and their modalities
HEADER = "image,audio,text,question,label,answer,split,picture"  # of a file that both can read


@pytest.mark.parametrize("experiment", compose.list_options("experiment"))
def test_overrides_take_precedence_over_an_experiment(experiment, monkeypatch, tmp_path):
    (tmp_path / "manifest.csv").write_text(f"{HEADER}\na.png,a.wav,a,a?,0,no,train,0\n")
    monkeypatch.setenv("MMRUN_AVDIGITS", str(tmp_path))
    monkeypatch.setenv("MMRUN_EASY_VQA", str(tmp_path))
    plain = compose.load([f"experiment={experiment}"])
    assert plain.experiment == experiment
    changed = compose.load([f"experiment={experiment}", "optimizer.lr=0.5", "encoder.image=cnn", "fusion=gated"])
    assert changed.optimizer["lr"] == 0.5
    assert changed.choices["encoder.image"] == "cnn"
    assert list(changed.encoder) == list(plain.encoder) == EXPERIMENTS[experiment]


def test_a_monitored_metric_may_have_the_name_of_the_log():
    """Both spellings are the same run."""
    logged, plain = (compose.load([f"strategy.stages.train.monitor={name}"]) for name in ("val/f1_macro", "f1_macro"))
    assert logged.strategy.stages["train"].monitor == "f1_macro"
    assert compose.as_dict(logged) == compose.as_dict(plain)
