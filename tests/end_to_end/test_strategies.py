"""What single strategies promise, beyond that all of them train (test_train.py)."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from mmrun import compose
from mmrun.run.pipeline import run
from mmrun.training.callback import NullCallback
from tests.end_to_end.conftest import FEW, metrics

pytestmark = pytest.mark.usefixtures("few_digits")


def kept(folder, stage):
    return load_file(folder / f"checkpoints/{stage}/best/model.safetensors")


def moved(folder, before, after):
    """Give the parts of the model that are not the same after a stage as before it."""
    first, second = kept(folder, before), kept(folder, after)
    return {".".join(name.split(".")[:1]) for name in first if not torch.equal(first[name], second[name])}


@pytest.mark.parametrize(
    ("strategy", "stages", "learning"),
    [
        ("probe_then_finetune", ["probe", "finetune"], [{"encoder", "fusion", "head"}]),
        ("gradual_unfreezing", ["head", "top", "all"], [{"encoder", "fusion", "head"}] * 2),
        (
            "component_frozen_first",
            ["pretrain-text", "fuse", "finetune"],
            [{"fusion", "head"}, {"encoder", "fusion", "head"}],
        ),
        (
            "component_both",
            ["pretrain-text", "teach-image", "teach-text", "finetune"],
            [{"encoder", "probe"}, {"encoder", "probe"}, {"encoder", "fusion", "head"}],
        ),
        ("svm", ["train", "svm"], [{"head"}]),
        ("few_shot", ["align", "train"], [{"fusion", "head"}]),
        ("distill_unimodal", ["teach", "distill"], [{"encoder", "fusion", "head", "probe"}]),
    ],
)
def test_each_stage_teaches_what_it_says(train_once, strategy, stages, learning):
    folder = train_once(strategy)
    told = [moved(folder, *pair) for pair in pairwise(stages)]
    assert told == learning


def test_only_upper_layers_are_fine_tuned(shell):
    for strategy, before, after in (("holistic_top", "pretrain", "finetune"), ("gradual_unfreezing", "head", "top")):
        run = shell.train(f"strategy={strategy}", "encoder.text=textcnn")
        first, second = kept(run, before), kept(run, after)
        still = [name for name in first if torch.equal(first[name], second[name])]
        assert "encoder.image.blocks.0.0.weight" in still
        assert "encoder.text.embedding.weight" in still
        assert "encoder.image.blocks.3.0.weight" not in still


def test_layer_rates_leave_encoders_nearer_to_where_they_were(shell, train_once):
    start = kept(train_once("frozen"), "train")
    way = {}
    for strategy in ("scratch", "layer_rates"):
        end = kept(shell.train(f"strategy={strategy}", "optimizer=sgd"), "train")
        way[strategy] = sum((end[n] - start[n]).abs().sum() for n in end if n == "encoder.text.embedding.weight")
    assert 0.4 < way["layer_rates"] / way["scratch"] < 0.7  # 0.75^2: the embedding lies below the recurrent layer


class Stopped(Exception):  # noqa: N818 - as if the machine went off
    pass


class StopAt(NullCallback):
    """Ends a run at a step of its last stage."""

    def __init__(self, stage, step):
        self.stop, self.left, self.now = stage, step, ""

    def on_stage_start(self, stage, state):
        self.now = stage.name

    def on_step_end(self, state, losses):
        self.left -= self.now == self.stop
        if self.left < 0:
            raise Stopped


@pytest.mark.parametrize(
    ("strategy", "stage"), [("mean_teacher", "agree"), ("pseudo_label", "pseudo_label"), ("distill", "distill")]
)
def test_what_owns_a_teacher_goes_on_exactly(tmp_path, strategy, stage):
    words = [*FEW, f"strategy={strategy}", "budget.epochs=0.3", "dataset.labelled=0.5", "trainer.save_every=0"]
    if strategy == "mean_teacher":
        words.append("strategy.stages.agree.objective.rampup=5")
    whole, cut = (
        compose.load([*words, f"outputs={tmp_path}/{name}", f"cache={tmp_path}/cache"]) for name in ("whole", "cut")
    )
    expected = run(whole, NullCallback())
    with pytest.raises(Stopped):
        run(cut, StopAt(stage, 2))
    found = run(cut, NullCallback())
    a, b = (kept(folder.path, stage) for folder in (expected, found))
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert expected.read_metrics()["metrics"] == found.read_metrics()["metrics"]


def test_from_big_to_small(shell):
    teacher = shell.train("strategy=scratch", "encoder.image=cnn", "encoder.image.preprocess.size=28", "fusion.dim=96")
    words = [
        "strategy=distill",
        "~strategy.stages.teach",
        f"strategy.stages.distill.objective.teacher={teacher.name}",
        "strategy.stages.distill.objective.match=[fused,pooled]",
    ]
    folder = shell.train(*words)
    assert list(metrics(folder)["cost"]["stages"]) == ["distill"]
    code, _, err = shell("train", *FEW, *words[:2], "strategy.stages.distill.objective.teacher=nobody")
    assert code == 2
    assert err.startswith("mmrun: strategy.stages.distill.objective.teacher: no run 'nobody'")


def test_from_many_modalities_to_one(shell):
    teacher = shell.train("strategy=scratch")
    stage = "strategy.stages.distill"
    folder = shell.train(
        "strategy=distill",
        "~strategy.stages.teach",
        f"{stage}.objective=distill_unimodal",
        f"{stage}.objective.teacher={teacher.name}",
        f"{stage}.objective.task.modalities=[image]",
        f"{stage}.train=[encoder.image,probe.image]",
    )
    assert metrics(folder)["primary_head"] == "probe.image"


def test_tasks_of_three_kinds_at_once(shell):
    rng = np.random.default_rng(0)
    lines = ["height,weight,sport,size,age"]
    for row in range(120):
        size = rng.integers(0, 4)
        numbers = f"{size + 0.1 * rng.normal():.3f},{size + 0.1 * rng.normal():.3f}"
        lines.append(f"{numbers},{'ab'[row % 2]},{('small', 'medium', 'large', 'huge')[size]},{20 + 10 * size}")
    (shell.folder / "people.csv").write_text("\n".join(lines) + "\n")
    words = [
        "dataset=manifest",
        "dataset.path=people.csv",
        "dataset.columns.cells=[height,weight]",
        "dataset.target=[size,sport,age]",
        "dataset.task.size=ordinal",
        "dataset.task.age=regression",
        "dataset.order=[small,medium,large,huge]",
        "trainer.batch_size=16",
        "trainer.progress=false",
        "optimizer.lr=1e-2",
    ]
    code, out, err = shell("train", *words, "strategy=multitask", "budget.epochs=15")
    assert code == 0, err
    told = metrics(shell.folder / out.split()[-1])
    assert {"size.quadratic_kappa", "size.mae", "size.accuracy", "sport.accuracy", "age.r2"} <= set(
        told["metrics"]["test"]
    )
    assert told["metrics"]["test"]["size.quadratic_kappa"] > 0.8
    assert list(told["per_class"]["test"]["size"]) == ["small", "medium", "large", "huge"]
    (shell.folder / "new.csv").write_text("height,weight\n0.02,-0.1\n2.9,3.1\n")
    code, out, err = shell("predict", told["run"], "new.csv", "-o", "said.csv")
    assert code == 0, err
    header, first, last = (line.split(",") for line in (shell.folder / "said.csv").read_text().splitlines())
    place = header.index("size")
    assert (first[place], last[place]) == ("small", "huge")
    assert shell("eval", told["run"])[0] == 0


def test_a_probe_whose_encoder_went_on_without_it_is_not_asked(train_once):
    after = metrics(train_once("component_supervised"))["metrics"]["test"]
    assert [name for name in after if name.startswith("accuracy")] == ["accuracy"]
    still = metrics(train_once("unimodal"))["metrics"]["test"]
    assert {name for name in still if name.startswith("accuracy")} == {"accuracy", "accuracy/image", "accuracy/text"}


def test_a_teacher_is_not_kept_with_what_it_taught(train_once):
    run = train_once("distill")
    assert load_file(run / "checkpoints/distill/best/objective.safetensors") == {}
