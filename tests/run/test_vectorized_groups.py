import pytest

from mmrun.run.vectorized_groups import group_runs

APART = "trainer.vectorize: runs train one after another: "


@pytest.fixture
def group(load):
    """Group runs that differ in one override each."""

    def group_overrides(*differences):
        return group_runs([load("trainer.vectorize=true", *difference.split()) for difference in differences])

    return group_overrides


@pytest.mark.parametrize(
    "difference",
    [
        "seed=1",
        "optimizer.lr=1e-2",
        "optimizer.weight_decay=0.3",
        "strategy.stages.train.max_grad_norm=1",
        "strategy.stages.train.patience=2",
        "strategy.stages.train.schedule=constant",
        "tag=pilot",
    ],
)
def test_runs_of_other_seeds_and_numbers_of_the_optimizer_train_together(group, difference):
    assert group("seed=0", difference) == ([[0, 1]], [])


@pytest.mark.parametrize(
    ("difference", "key"),
    [
        ("fusion.dim=8", "fusion.dim"),
        ("encoder.a.dropout=0.5", "encoder.a.dropout"),
        ("strategy.stages.train.objective.label_smoothing=0.1", "strategy.stages.train.objective.label_smoothing"),
        ("optimizer=sgd", "optimizer"),
        ("trainer.batch_size=8", "trainer.batch_size"),
        ("budget.steps=12", "budget.steps"),
    ],
)
def test_runs_that_differ_in_anything_else_are_groups(group, difference, key):
    groups, messages = group("seed=0", "seed=1", f"{difference} seed=0", f"{difference} seed=1")
    assert groups == [[0, 1], [2, 3]]
    assert messages == [f"trainer.vectorize: 2 groups of runs, which differ in {key}"]


@pytest.mark.parametrize(
    ("override", "reason"),
    [
        ("budget.steps=null budget.seconds=3", "budget.seconds: each run would need a clock of its own"),
        ("trainer.on_nan=skip", "trainer.on_nan=skip takes back steps of a single run"),
        ("trainer.compile=true", "trainer.compile compiles a single run"),
        ("strategy.stages.train.grad_accum_steps=2", "grad_accum_steps splits the batch of a single run"),
    ],
)
def test_what_cannot_train_together_says_why(group, override, reason):
    assert group(f"seed=0 {override}", f"seed=1 {override}") == ([[0], [1]], [APART + reason])


def test_without_the_key_every_run_trains_alone(load):
    assert group_runs([load("seed=0"), load("seed=1")]) == ([[0], [1]], [])
