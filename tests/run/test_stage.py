import torch

from mmrun.run.build_stage import build_stage
from mmrun.run.stage import run_or_reuse_stage, run_stage
from mmrun.run.stage_checkpoints import load_stage_weights
from mmrun.training import checkpoint


def test_a_stage_leaves_its_result_and_its_cost(open_run):
    session = open_run()
    stage = session.stages["train"]
    costs = run_stage(session, build_stage(session, stage))
    assert (costs["steps"], costs["samples"], costs["objective"], costs["reused"]) == (6, 96, "Task", False)
    (state,) = checkpoint.load(session.folder.checkpoint_path("train", "last"))
    assert state == {"finished": True, "cost": costs}
    with torch.no_grad():
        for parameter in session.model.parameters():
            parameter.zero_()
    load_stage_weights(session, stage)
    assert any(parameter.any() for parameter in session.model.parameters())


def test_a_stored_result_is_loaded_and_charged(open_run, tmp_path):
    weights = []
    for name in ("first", "second"):
        session = open_run("strategy=component", name=name)
        stage = session.stages["pretrain-a"]
        run_or_reuse_stage(session, build_stage(session, stage), tmp_path / "stored")
        (state,) = checkpoint.load(session.folder.checkpoint_path(stage.name, "last"))
        assert state["cost"]["reused"] is (name == "second")
        load_stage_weights(session, stage)
        weights.append(session.model.state_dict())
    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])
