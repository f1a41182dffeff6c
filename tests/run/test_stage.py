from dataclasses import replace

import pytest
import torch

from mmrun.errors import ConfigError
from mmrun.head import FUSED
from mmrun.run.stage import build_stage, run_or_reuse_stage, run_stage, stage_key, try_kernels
from mmrun.run.stage_checkpoints import load_stage_weights
from mmrun.training import checkpoint, device
from mmrun.training.device import naming_kernel


def test_a_built_stage_touches_no_file_and_trains_only_what_it_names(open_run, tmp_path):
    session = open_run("strategy=frozen")
    before = sorted(tmp_path.rglob("*"))
    built = build_stage(session, session.stages["train"])
    assert sorted(tmp_path.rglob("*")) == before
    trainable = {name.removeprefix("model.") for name, p in built.learner.named_parameters() if p.requires_grad}
    assert trainable == session.stages["train"].trainable
    assert (built.batch_size, built.epoch_rows, built.heads) == (16, len(session.data.rows["all"]), [FUSED])
    assert built.flops_per_step > 0


def test_each_stage_is_evaluated_equally_often_whatever_its_share(open_run):
    """An epoch has 3 steps. Each stage of pre-training reads half of the modalities, and so takes twice the steps."""
    shares = ["strategy.stages.pretrain.share=1", "strategy.stages.finetune.share=3"]
    budget = ["budget.steps=null", "budget.epochs=16", "trainer.evaluate_every=4"]
    session = open_run("strategy=component", *budget, *shares)
    steps = {}
    for name, stage in session.stages.items():
        config = build_stage(session, stage).config
        steps[name] = (config.budget.steps, config.evaluate_every)
    assert steps == {"pretrain-a": (12, 3), "pretrain-b": (12, 3), "finetune": (36, 9)}


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


@pytest.mark.parametrize(
    ("override", "same"),
    [
        ("trainer.progress=true", True),
        ("trainer.save_every=5", True),
        ("trainer.evaluate_every=2", False),
        ("strategy.stages.train.lr=0.5", False),
        ("strategy.stages.train.max_grad_norm=1", False),
        ("dataset.labelled=0.5", False),
        ("callbacks=early_stopping", False),
        ("seed=1", False),
    ],
)
def test_the_key_of_a_result_holds_what_decides_it(open_run, override, same):
    keys = []
    for name, overrides in (("first", []), ("second", [override])):
        session = open_run(*overrides, name=name)
        keys.append(stage_key(session, build_stage(session, session.stages["train"])))
    assert (keys[0] == keys[1]) is same


def test_hidden_targets_decide_only_the_stages_that_read_targets(open_run):
    """Both stages see all rows, of which a tenth or half have a label."""
    keys = []
    for share in (0.1, 0.5):
        words = ["strategy=component", "strategy.stages.finetune.rows=all", f"dataset.labelled={share}"]
        session = open_run(*words, name=str(share))
        stages = [build_stage(session, session.stages[name]) for name in ("pretrain-a", "finetune")]
        assert [bool(built.batches.targets) for built in stages] == [False, True]
        keys.append([stage_key(session, built) for built in stages])
    (pretrained, tuned), (again, tuned_on_more) = keys
    assert pretrained == again
    assert tuned != tuned_on_more


def test_the_values_of_targets_decide_the_result(open_run):
    session = open_run()
    targets = session.data.table.targets
    before = stage_key(session, build_stage(session, session.stages["train"]))
    targets["label"] = replace(targets["label"], values=targets["label"].values[::-1].copy())
    assert stage_key(session, build_stage(session, session.stages["train"])) != before


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


def test_the_model_of_the_device_decides_the_result(open_run, monkeypatch):
    keys = []
    for model in ("NVIDIA H100", "NVIDIA A100"):
        monkeypatch.setattr(device, "model_name", lambda _, model=model: model)
        session = open_run(name=model)
        keys.append(stage_key(session, build_stage(session, session.stages["train"])))
    assert keys[0] != keys[1]


@pytest.fixture
def deterministic():
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


def test_a_kernel_that_a_later_stage_is_refused_ends_a_run_before_it_trains(open_run, deterministic):
    session = open_run("strategy=component")
    try_kernels(session)

    def put(module, args, output):
        return output.clone().put_(torch.tensor([0]), torch.tensor([1.0]))

    session.model.fusion.register_forward_hook(put)
    with pytest.raises(ConfigError, match="torch has no deterministic kernel for put_ on this device"), naming_kernel():
        try_kernels(session)


def test_trying_kernels_leaves_no_trace(open_run, deterministic):
    session = open_run("strategy=component")
    before = {name: tensor.clone() for name, tensor in session.model.state_dict().items()}
    random_state = torch.get_rng_state()
    try_kernels(session)
    assert all(tensor.equal(before[name]) for name, tensor in session.model.state_dict().items())
    assert {parameter.grad for parameter in session.model.parameters()} == {None}
    assert torch.get_rng_state().equal(random_state)
