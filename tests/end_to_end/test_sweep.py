from pathlib import Path

from tests.end_to_end.conftest import SMALL, metrics


def test_a_sweep_runs_every_combination_and_once(shell):
    words = ["train", "-m", *SMALL, "strategy=scratch,frozen", "seed=0,1"]
    code, out, _ = shell(*words)
    assert code == 0
    folders = [Path(line.split()[0]) for line in out.splitlines() if line.startswith("outputs")]
    asked = [(metrics(f)["choices"]["strategy"], metrics(f)["seed"]) for f in folders]
    assert asked == [("scratch", 0), ("scratch", 1), ("frozen", 0), ("frozen", 1)]
    assert out.splitlines()[-1] == "4 of 4 runs finished"
    stamps = [(f / "metrics.json").stat().st_mtime_ns for f in folders]
    assert shell(*words)[0] == 0
    assert stamps == [(f / "metrics.json").stat().st_mtime_ns for f in folders]


def test_a_failed_run_does_not_stop_the_others(shell):
    code, out, _ = shell("train", "-m", *SMALL, "optimizer.lr=1e-3,1e30")
    assert code == 1
    assert "failed: RunError: the loss is nan" in out
    assert "repeat it: mmrun train " in out
    assert out.splitlines()[-1] == "1 of 2 runs finished"


def test_nothing_starts_before_every_run_is_known_to_fit(shell):
    code, _, err = shell("train", "-m", *SMALL, "strategy=scratch,frozen", "strategy.stages.train.train=[fusion],[hed]")
    assert code == 2
    assert err.startswith("mmrun: strategy.stages.train.train: 'hed' names no parameter (the model has ")
    assert not Path("outputs").exists()


def test_runs_may_be_launched_in_processes(shell):
    words = ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2", "seed=0,1"]
    code, out, _ = shell("train", "-m", *SMALL, *words)
    assert code == 0
    assert out.splitlines()[-1] == "2 of 2 runs finished"
