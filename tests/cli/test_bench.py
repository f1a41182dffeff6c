"""mmrun bench."""

import json

from tests.end_to_end.conftest import SMALL


def test_training_steps_and_inference_are_timed_and_nothing_is_stored(shell):
    code, out, err = shell("bench", *SMALL, "strategy=component", "--seconds", "0.05", "--format", "json")
    assert code == 0, err
    report = json.loads(out)
    assert report["device"] == "cpu"
    timings = {(timing["what"], timing["rows"]): timing for timing in report["timings"]}
    stages = [("pretrain-image", 64), ("pretrain-text", 64), ("finetune", 64)]
    assert list(timings) == [*stages, ("inference", 180), ("inference", 1)]
    for timing in timings.values():
        assert timing["times"] >= 5
        assert 0 < timing["p50"] <= timing["p99"]
        assert timing["row"] == timing["p50"] / timing["rows"]
        assert timing["samples_per_second"] > 0
        assert timing["mfu"] is None  # of a CPU
    assert timings["finetune", 64]["flops_per_second"] > 0
    assert timings["inference", 180]["flops_per_second"] is None
    assert list(shell.folder.iterdir()) == []


def test_table(shell):
    code, out, err = shell("bench", *SMALL, "--seconds", "0.01")
    assert code == 0, err
    lines = out.splitlines()
    assert lines[0].split() == [
        "what",
        "rows",
        "p50",
        "p99",
        "a",
        "row",
        "rows/s",
        "FLOP/s",
        "of",
        "the",
        "peak",
        "memory",
    ]
    assert lines[2].split()[:2] == ["train", "64"]
    assert lines[-1] == "cpu, 1 threads, fp32"
