import pytest
import torch

from mmrun.errors import ConfigError
from mmrun.head import FUSED
from mmrun.run.build_stage import build_stage, try_kernels
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
