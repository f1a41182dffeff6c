import torch

from mmrun.run.stage import build_stage
from mmrun.run.stage_checkpoints import StageCheckpoints, load_stage_weights, trained_parts
from mmrun.training import checkpoint
from mmrun.training.state import TrainState


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
