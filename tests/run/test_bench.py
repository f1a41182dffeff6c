from mmrun.run.bench import bench
from mmrun.training.callback import NullCallback


def test_each_stage_and_inference_are_timed(load, tmp_path):
    timings = bench(load("strategy=component"), tmp_path / "scratch", NullCallback(), seconds=0.01)
    assert [timing.what for timing in timings] == ["pretrain-a", "pretrain-b", "finetune", "inference", "inference"]
    for timing in timings:
        assert timing.times >= 5
        assert 0 < timing.p50 <= timing.p99
        assert timing.seconds_per_row == timing.p50 / timing.rows
    assert [timing.rows for timing in timings[:3]] == [16, 16, 16]
    assert timings[-1].rows == 1
