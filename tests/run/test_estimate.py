import pytest

from mmrun.run import estimate
from mmrun.run.pipeline import run
from mmrun.training.callback import NullCallback


@pytest.fixture(autouse=True)
def short_timings(monkeypatch):
    monkeypatch.setattr(estimate, "TIMED_SECONDS", 0.02)


def test_an_estimate_counts_what_the_run_then_does(load, tmp_path):
    config = load("strategy=component", "trainer.evaluate_every=1")
    expected = estimate.estimate_run(config, tmp_path / "scratch", NullCallback())
    stages = run(config, NullCallback()).read_metrics()["cost"]["stages"]
    assert [stage.name for stage in expected.stages] == list(stages)
    for stage in expected.stages:
        assert stage.steps == stages[stage.name]["steps"]
        assert stage.flops == pytest.approx(stages[stage.name]["flops"])
        assert stage.seconds >= stage.steps * stage.step > 0
    assert expected.seconds > sum(stage.seconds for stage in expected.stages)


def test_equal_stages_have_equal_keys(load, tmp_path):
    """Pre-training does not depend on the fusion that comes later; fine-tuning does."""
    keys = []
    for fusion in ("concat", "gated"):
        config = load("strategy=component", f"fusion={fusion}")
        estimated = estimate.estimate_run(config, tmp_path / fusion, NullCallback())
        keys.append([stage.key for stage in estimated.stages])
    assert keys[0][:2] == keys[1][:2]
    assert keys[0][2] != keys[1][2]


def test_columns_in_memory_are_not_written(load, tmp_path):
    columns = estimate.estimate_run(load(), tmp_path / "scratch", NullCallback()).columns
    assert [(column.modality, column.rows, column.kept) for column in columns] == [
        ("a", 60, "memory"),
        ("b", 60, "memory"),
    ]


def test_runs_that_differ_in_rates_alone_are_timed_once(load, tmp_path):
    timings = {}
    first = estimate.estimate_run(load("optimizer.lr=0.1"), tmp_path / "first", NullCallback(), timings)
    num_timed = len(timings)
    second = estimate.estimate_run(load("optimizer.lr=0.2"), tmp_path / "second", NullCallback(), timings)
    assert len(timings) == num_timed == 3  # a step, an evaluation, and that of the end
    assert [stage.step for stage in first.stages] == [stage.step for stage in second.stages]
    assert first.stages[0].key != second.stages[0].key
