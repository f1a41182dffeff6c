import pytest

from mmrun.config import BudgetConfig, StageConfig, StrategyConfig
from mmrun.training.budget import StageBudget, stage_budget
from mmrun.training.stages import expand_stages

MODALITIES = ["image", "audio", "text"]
COMPONENT = StrategyConfig(
    {
        "pretrain": StageConfig(for_each="modality", train=["encoder.{modality}"], share=0.5),
        "finetune": StageConfig(train=["encoder"], share=0.5),
    }
)
SCRATCH = StrategyConfig({"train": StageConfig(train=["encoder"])})


def steps(budget, strategy, flops=1.0):
    stages = expand_stages(strategy, MODALITIES)
    return [stage_budget(budget, s, train_rows=1000, batch_size=10, flops_per_step=flops).steps for s in stages]


@pytest.mark.parametrize(
    ("budget", "scratch", "component"),
    [
        (BudgetConfig(epochs=6), [600], [300, 300, 300, 300]),
        (BudgetConfig(samples=6000), [600], [300, 300, 300, 300]),
        (BudgetConfig(steps=600), [600], [300, 300, 300, 300]),
        (BudgetConfig(flops=600.0), [600], [100, 100, 100, 300]),
        (BudgetConfig(), [1000], [500, 500, 500, 500]),
    ],
)
def test_two_strategies_under_one_budget_spend_the_same(budget, scratch, component):
    """A stage on one of three modalities spends a third a step; FLOPs are counted as they are."""
    assert steps(budget, SCRATCH) == scratch
    assert steps(budget, COMPONENT) == component


def test_seconds_are_divided_by_share():
    stages = expand_stages(COMPONENT, MODALITIES)
    told = [stage_budget(BudgetConfig(seconds=60), s, 1000, 10, 1.0) for s in stages]
    assert told == [StageBudget(seconds=10.0)] * 3 + [StageBudget(seconds=30.0)]
    assert StageBudget(seconds=10.0).spent(steps=5, seconds=2.5) == 0.25


def test_the_smallest_share_is_one_step():
    assert steps(BudgetConfig(epochs=0.001), SCRATCH) == [1]


def test_without_a_budget_few_rows_are_read_often_enough():
    """Ten epochs of 142 rows are 22 steps: logistic regression was better on them."""
    stages = expand_stages(COMPONENT, MODALITIES)
    told = [stage_budget(BudgetConfig(), stage, 142, 64, 1.0).steps for stage in stages]
    assert told == [30, 30, 30, 30]
    (stage,) = expand_stages(SCRATCH, MODALITIES)
    assert stage_budget(BudgetConfig(), stage, 142, 64, 1.0).steps == 60
    assert stage_budget(BudgetConfig(epochs=10), stage, 142, 64, 1.0).steps == 22
