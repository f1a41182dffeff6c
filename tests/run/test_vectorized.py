import pytest
import torch

from mmrun import compose
from mmrun.results.folder import RunFolder
from mmrun.results.identity import run_folder_path
from mmrun.run import vectorized
from mmrun.run.pipeline import run
from mmrun.run.vectorized import Sibling, run_together
from mmrun.training import checkpoint
from mmrun.training.callback import Callback, NullCallback
from mmrun.training.nan_guard import NanGuard
from mmrun.training.vectorized.stackable import find_collected
from tests.run.observers import Interrupt, Messages

# No random numbers are drawn in a step, so that a run is the same alone and together, up to rounding
PLAIN = [f"encoder.{modality}.{key}=0" for modality in "ab" for key in ("dropout", "cell_dropout")]


class Spoil(Callback):
    """Makes the weights of a run useless after its second step."""

    def on_stage_start(self, stage, state):
        self.learner = stage.learner

    def on_step_end(self, state, losses):
        if state.step == 2:
            for parameter in self.learner.model.encoder["a"].parameters():
                parameter.data.fill_(float("nan"))


@pytest.fixture
def train(load, tmp_path):
    """Train runs together that differ in one override each; return them."""

    def train_together(differences, *overrides, callbacks=None):
        siblings = []
        for number, difference in enumerate(differences):
            config = load(*PLAIN, *overrides, difference, f"outputs={tmp_path}/together")
            folder = RunFolder(run_folder_path(compose.as_dict(config)))
            siblings.append(Sibling(config, folder, [], NullCallback() if callbacks is None else callbacks[number]))
        run_together(siblings)
        return siblings

    return train_together


SEEDS = ["seed=0", "seed=1", "seed=2"]


def final_weights(folder, stage):
    return checkpoint.load(folder.checkpoint_path(stage, "last"), "model")[1]


def assert_equals_alone(sibling, load, *overrides):
    """Compare weights and metrics with those of the same run, trained alone."""
    alone = run(load(*PLAIN, *overrides), NullCallback())
    stage = list(sibling.config.strategy.stages)[-1]
    expected = final_weights(alone, stage)
    for name, weights in final_weights(sibling.folder, stage).items():
        torch.testing.assert_close(weights, expected[name], rtol=1e-4, atol=1e-5, msg=name)
    metrics, together = alone.read_metrics()["metrics"], sibling.folder.read_metrics()["metrics"]
    for split in ("val", "test"):
        assert together[split] == pytest.approx(metrics[split], abs=1e-4)


def test_each_run_is_what_it_is_alone(train, load):
    messages = Messages()
    siblings = train(SEEDS, callbacks=[messages, NullCallback(), NullCallback()])
    assert "train: 3 runs train together" in messages.texts
    for sibling, seed in zip(siblings, SEEDS, strict=True):
        assert_equals_alone(sibling, load, seed)


def test_learning_rate_weight_decay_and_clipping_may_differ(train, load):
    overrides = ["optimizer.lr=1e-3", "optimizer.weight_decay=0.3", "strategy.stages.train.max_grad_norm=0.1"]
    for sibling, override in zip(train(overrides), overrides, strict=True):
        assert_equals_alone(sibling, load, override)


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_the_state_of_an_optimizer_is_stacked(train, load, optimizer):
    overrides = [f"optimizer={optimizer}", "strategy.stages.train.max_grad_norm=0.5"]
    assert_equals_alone(train(SEEDS, *overrides)[1], load, "seed=1", *overrides)


def test_a_moving_average_belongs_to_each_run(train, load):
    siblings = train(SEEDS, "strategy.stages.train.ema_decay=0.5")
    assert_equals_alone(siblings[2], load, "seed=2", "strategy.stages.train.ema_decay=0.5")


def test_frozen_encoders_differ_from_run_to_run(train, load):
    siblings = train(SEEDS, "strategy=frozen")
    assert_equals_alone(siblings[1], load, "seed=1", "strategy=frozen")


def test_several_stages_are_those_of_each_run_alone(train, load):
    siblings = train(SEEDS, "strategy=probe_then_finetune")
    assert_equals_alone(siblings[1], load, "seed=1", "strategy=probe_then_finetune")


PICTURES = [
    "dataset=digits",
    "dataset.labelled=0.1",
    "modalities=[image]",
    "encoder.image.channels=[4]",
    "fusion.dim=4",
]


def test_batch_statistics_belong_to_each_run(tmp_path):
    def load(seed, folder):
        shown = ["encoder.image.kernels=[3]", "budget.steps=4", "trainer.batch_size=16", "trainer.progress=false"]
        return compose.load(
            [*PICTURES, *shown, f"seed={seed}", f"outputs={tmp_path}/{folder}", f"cache={tmp_path}/cache"]
        )

    messages = Messages()
    siblings = []
    for seed in (0, 1):
        config = load(seed, "together")
        siblings.append(Sibling(config, RunFolder(run_folder_path(compose.as_dict(config))), [], messages))
    run_together(siblings)
    assert "train: 2 runs train together" in messages.texts
    for seed, sibling in enumerate(siblings):
        expected = final_weights(run(load(seed, "alone"), NullCallback()), "train")
        weights = final_weights(sibling.folder, "train")
        assert any("running_var" in name for name in expected)
        for name in expected:
            torch.testing.assert_close(weights[name], expected[name], rtol=1e-4, atol=1e-5, msg=name)


@pytest.mark.parametrize("strategy", ["component", "holistic"])
def test_strategies_of_several_stages_train_together(train, strategy):
    messages = Messages()
    siblings = train(SEEDS, f"strategy={strategy}", callbacks=[messages, NullCallback(), NullCallback()])
    assert [sibling.error for sibling in siblings] == [None, None, None]
    assert "finetune: 3 runs train together" in messages.texts
    assert {sibling.folder.finished for sibling in siblings} == {True}


def test_an_objective_with_gradients_of_its_own_is_trained_run_by_run(train, load):
    messages = Messages()
    siblings = train(SEEDS[:2], "balance=ogm_ge", callbacks=[messages, NullCallback()])
    assert messages.texts[-1] == "train: 2 runs train one after another: OgmGe computes its gradients itself"
    assert_equals_alone(siblings[1], load, "seed=1", "balance=ogm_ge")


def test_interrupted_runs_continue_together_or_alone(train, load, tmp_path):
    overrides = ["trainer.save_every=0"]
    with pytest.raises(KeyboardInterrupt):
        train(SEEDS, *overrides, callbacks=[NullCallback(), NullCallback(), Interrupt()])
    alone = run(load(*PLAIN, *overrides, "seed=0", f"outputs={tmp_path}/together"), NullCallback())
    assert alone.finished
    siblings = train(SEEDS, *overrides)
    for sibling, seed in zip(siblings, SEEDS, strict=True):
        assert_equals_alone(sibling, load, seed, *overrides)


def test_a_run_that_fails_leaves_the_others_in_peace(train, load):
    siblings = train(SEEDS, callbacks=[NullCallback(), Spoil(), NullCallback()])
    assert [sibling.folder.finished for sibling in siblings] == [True, False, True]
    assert "the loss is nan at step 3: the encoder's output for a is not finite in row" in str(siblings[1].error)
    assert siblings[1].folder.status.read()["status"] == "failed"
    assert_equals_alone(siblings[2], load, "seed=2")


def test_a_loss_that_is_only_noted_ends_its_run_at_the_next_evaluation(train, load, monkeypatch):
    build_guard = NanGuard.__init__

    def build_guard_of_gpu(guard, *args):
        build_guard(guard, *args)
        guard.reads_at_once = False

    monkeypatch.setattr(NanGuard, "__init__", build_guard_of_gpu)
    siblings = train(SEEDS, callbacks=[NullCallback(), Spoil(), NullCallback()])
    assert "the loss is nan at step 3: the encoder's output for a is not finite in row" in str(siblings[1].error)
    assert_equals_alone(siblings[2], load, "seed=2")


def test_fewer_runs_train_at_a_time_where_memory_does_not_hold_all(train, load, monkeypatch):
    def find_collected_of_two(learners, batch, tolerance):
        if len(learners) > 2:
            raise torch.OutOfMemoryError
        return find_collected(learners, batch, tolerance)

    monkeypatch.setattr(vectorized, "find_collected", find_collected_of_two)
    messages = Messages()
    siblings = train([*SEEDS, "seed=3"], callbacks=[messages, *[NullCallback()] * 3])
    assert messages.texts[-1] == "train: 4 runs train 2 at a time"
    assert_equals_alone(siblings[3], load, "seed=3")


def test_runs_in_bf16_train_together(train):
    messages = Messages()
    train(SEEDS, "trainer.precision=bf16", callbacks=[messages, NullCallback(), NullCallback()])
    assert messages.texts[-1] == "train: 3 runs train together"


def test_a_run_that_stops_early_leaves_the_others(train, load):
    overrides = ["trainer.evaluate_every=0.3", "optimizer.lr=1e-9"]  # nothing improves
    differences = ["strategy.stages.train.patience=1", "seed=1", "seed=2"]
    siblings = train(differences, *overrides)
    assert [sibling.folder.read_metrics()["cost"]["steps"] for sibling in siblings] == [2, 6, 6]
    for sibling, difference in zip(siblings, differences, strict=True):
        assert_equals_alone(sibling, load, *overrides, difference)


def test_a_finished_run_is_left_as_it_is(train):
    (first,) = train(SEEDS[:1])
    modified = first.folder.metrics_file.stat().st_mtime_ns
    siblings = train(SEEDS)
    assert [sibling.folder.finished for sibling in siblings] == [True, True, True]
    assert first.folder.metrics_file.stat().st_mtime_ns == modified
