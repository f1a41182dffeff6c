from pathlib import Path

import pytest
import torch

from mmrun.errors import DamagedError
from mmrun.run.build_stage import build_stage
from mmrun.run.opening import reopen
from mmrun.run.pipeline import run
from mmrun.run.stage_checkpoints import StageCheckpoints, load_stage_weights, trained_parts
from mmrun.training import checkpoint
from mmrun.training.callback import Callback, NullCallback
from mmrun.training.state import TrainState
from tests.damage import DAMAGES, damage


def test_a_checkpoint_restores_the_train_state_the_weights_and_their_average(open_run):
    overrides = ["strategy.stages.train.ema_decay=0.9"]
    session = open_run(*overrides)
    built = build_stage(session, session.stages["train"])
    checkpoints = StageCheckpoints(session, built)
    state = TrainState(step=3, seconds=1.0, best=0.5, best_step=2, stale=1)
    built.ema.averages[next(iter(built.ema.averages))].fill_(7.0)
    checkpoints.save(state)
    again = build_stage(session, session.stages["train"])
    restored = StageCheckpoints(session, again).restore()
    assert restored.state_dict() == state.state_dict()
    assert (again.ema.averages[next(iter(again.ema.averages))] == 7.0).all()


def test_the_best_weights_are_those_of_the_best_evaluation(open_run):
    session = open_run("strategy.stages.train.keep=best")
    stage = session.stages["train"]
    checkpoints = StageCheckpoints(session, build_stage(session, stage))
    expected = {name: tensor.clone() for name, tensor in session.model.state_dict().items()}
    checkpoints.on_best(TrainState(step=2, best=0.5))
    with torch.no_grad():
        for parameter in session.model.parameters():
            parameter.zero_()
    load_stage_weights(session, stage)
    assert all(torch.equal(tensor, expected[name]) for name, tensor in session.model.state_dict().items())
    (state,) = checkpoint.load(checkpoints.best)
    assert state == {"step": 2, "value": 0.5}


def test_a_stage_names_the_parts_that_it_trains(open_run):
    stages = open_run("strategy=component").stages
    assert trained_parts(stages["pretrain-a"]) == {"encoder.a"}
    assert trained_parts(stages["finetune"]) == {"encoder.a", "encoder.b", "fusion", "head.label"}


class Stop(Callback):
    """Ends the run after some steps, and collects its messages."""

    def __init__(self, step=None):
        self.step, self.messages = step, []

    def on_checkpoint(self, state):
        if state.step == self.step:
            raise KeyboardInterrupt

    def on_message(self, text):
        self.messages.append(text)


def resumed_after_damage(load, files, how="flipped", step=4):
    """Train to a step, damage some checkpoints, resume; return the metrics, the log and the messages."""
    config = load("trainer.save_every=0", "trainer.evaluate_every=0.5", f"outputs={load().outputs}-damaged")
    with pytest.raises(KeyboardInterrupt):
        run(config, Stop(step))
    [stage] = Path(config.outputs).glob("*/*/checkpoints/train")
    for file in files:
        damage(stage / file, how)
    stop = Stop()
    folder = run(config, stop)
    return folder, stop.messages


def losses_of(folder):
    return [event["train/loss"] for event in folder.log.read_events()]


@pytest.mark.parametrize("how", DAMAGES)
def test_a_run_continues_from_the_checkpoint_before_a_damaged_one(load, train_once, how):
    whole = train_once("trainer.evaluate_every=0.5")
    folder, messages = resumed_after_damage(load, ["last/learner.safetensors"], how)
    assert messages[0].startswith(f"{folder.path}/checkpoints/train/last/learner.safetensors: ")
    assert messages[0].endswith("; train continues from the checkpoint before it")
    assert messages[1] == "train: resumes after step 2"
    assert folder.read_metrics()["metrics"] == whole.read_metrics()["metrics"]
    assert losses_of(folder) == losses_of(whole)


@pytest.mark.parametrize("files", [["best/model.safetensors"], ["last/state.json", "last.old/random.safetensors"]])
def test_a_stage_without_an_intact_checkpoint_is_trained_again(load, train_once, files):
    whole = train_once("trainer.evaluate_every=0.5")
    folder, messages = resumed_after_damage(load, files)
    assert messages[-1].endswith("; train is trained again from its start")
    assert folder.read_metrics()["metrics"] == whole.read_metrics()["metrics"]
    assert losses_of(folder) == losses_of(whole)


def test_a_stage_of_a_finished_run_is_checked_when_it_is_read(load):
    folder = run(load(), NullCallback())
    damage(folder.checkpoint_path("train", "best") / "model.safetensors", "flipped")
    with pytest.raises(DamagedError, match=r"best/model\.safetensors: damaged, its bytes changed"):
        reopen(folder, NullCallback())
    folder.metrics_file.unlink()
    assert run(load(), NullCallback()).finished
    reopen(folder, NullCallback())


def test_only_the_result_is_kept_of_a_finished_stage(train_once):
    folder = train_once("trainer.save_every=0")
    assert sorted(path.name for path in (folder.checkpoints / "train").iterdir()) == ["best", "last"]


def test_a_damaged_stored_stage_is_trained_again(load):
    config = load("strategy.stages.train.reuse=true")
    first = run(config, NullCallback())
    [stored] = Path(config.cache).glob("stages/*/model.safetensors")
    damage(stored, "flipped")
    stop = Stop()
    other = run(load("strategy.stages.train.reuse=true", f"outputs={config.outputs}-other"), stop)
    assert stop.messages == [
        f"{stored}: damaged, its bytes changed after they were written; the stage is trained again"
    ]
    assert other.read_metrics()["metrics"] == first.read_metrics()["metrics"]
    stop = Stop()
    run(load("strategy.stages.train.reuse=true", f"outputs={config.outputs}-third"), stop)
    assert [message.partition(",")[0] for message in stop.messages] == ["train: reused"]
