import json
import shlex
from pathlib import Path

import pytest

from mmrun.cli import hydra_launcher, main
from tests.end_to_end.conftest import FEW, metrics

pytestmark = pytest.mark.usefixtures("few_digits")

TINY = [*FEW, "budget.epochs=0.1"]


def finished_in(out):
    """Return the run folders that the table at the end of a sweep lists, in order."""
    rows = [line.split() for line in out.splitlines()]
    return [Path("outputs/default") / row[-1] for row in rows if row and row[-1].startswith("manifest-")]


def test_a_sweep_runs_every_combination_and_once(shell):
    words = ["train", "-m", *FEW, "strategy=scratch,frozen", "seed=0,1"]
    code, out, err = shell(*words)
    assert code == 0
    assert "a sweep of 4 runs\n" in err
    folders = finished_in(out)
    asked = [(metrics(f)["choices"]["strategy"], metrics(f)["seed"]) for f in folders]
    assert asked == [("scratch", 0), ("scratch", 1), ("frozen", 0), ("frozen", 1)]
    assert out.splitlines()[-1] == "4 of 4 runs finished"
    stamps = [(f / "metrics.json").stat().st_mtime_ns for f in folders]
    code, out, err = shell(*words)
    assert (code, finished_in(out)) == (0, folders)
    assert "a sweep of 4 runs, 4 already finished\n" in err
    assert stamps == [(f / "metrics.json").stat().st_mtime_ns for f in folders]


def test_a_failed_run_does_not_stop_the_others(shell):
    code, out, _ = shell("train", "-m", *FEW, "optimizer.lr=1e30,1e-3")
    assert code == 1
    header, _, bad_row, good_row, _, bad, repeat, _, count = out.splitlines()
    assert header.split() == ["optimizer.lr", "test/accuracy", "time", "run"]
    assert bad_row.split()[:4] == ["1e+30", "not", "finished", "-"]
    assert good_row.split()[0] == "0.001"
    assert ": failed: NonFiniteLossError: the loss is nan" in bad
    assert repeat.startswith("  repeat it: mmrun train dataset=manifest ")
    assert repeat.endswith(" optimizer.lr=1e+30")
    assert count == "1 of 2 runs finished"


def test_a_bug_in_one_run_does_not_stop_the_others(shell, monkeypatch):
    from mmrun.run import metrics as run_metrics

    monkeypatch.setattr(run_metrics, "evaluate", lambda session: {}[session.config.seed])
    code, out, err = shell("train", "-m", *TINY, "seed=0,1")
    assert code == 1
    reasons = [line.partition(": ")[2] for line in out.splitlines() if ": failed: " in line]
    assert reasons == ["failed: KeyError: 0", "failed: KeyError: 1"]
    assert "Traceback" in err


def test_combinations_that_ask_for_the_same_run_are_run_once(shell):
    code, out, err = shell("train", "-m", *TINY, "trainer.save_every=10,20", "seed=0,1")
    assert code == 0
    assert "2 of 4 combinations are the same run as another\n" in err
    assert out.splitlines()[-1] == "2 of 2 runs finished"


def test_nothing_starts_before_every_run_is_known_to_fit(shell):
    trained = "strategy.stages.train.train=[fusion,head],[hed]"
    code, _, err = shell("train", "-m", *FEW, "strategy=scratch,frozen", trained)
    assert code == 2
    assert err.startswith("mmrun: strategy.stages.train.train: 'hed' matches no parameter (the model has ")
    assert not Path("outputs").exists()


def test_an_interrupted_sweep_says_how_to_go_on(shell, monkeypatch):
    from mmrun.run import metrics as run_metrics

    whole = run_metrics.evaluate

    def interrupt_the_second(session):
        if session.config.seed == 1:
            raise KeyboardInterrupt
        return whole(session)

    monkeypatch.setattr(run_metrics, "evaluate", interrupt_the_second)
    words = ["train", "-m", *TINY, "seed=0,1,2"]
    code, _, err = shell(*words)
    assert code == 130
    assert "1 of 3 runs finished; the same command continues\nmmrun: interrupted\n" in err
    states = {run["name"].split("-")[2]: run["status"] for run in json.loads(shell("ls", "--format", "json")[1])}
    assert states == {"s0": "finished", "s1": "interrupted", "s2": "waiting"}
    code, out, _ = shell("resume", next(Path("outputs/default").glob("*-s2-*")))  # one that waits can be started alone
    assert code == 0
    monkeypatch.setattr(run_metrics, "evaluate", whole)
    code, out, err = shell(*words)
    assert code == 0
    assert "2 already finished" in err
    assert "train: goes on" not in err  # the second one had trained; it was evaluated alone
    assert out.splitlines()[-1] == "3 of 3 runs finished"


def test_runs_may_train_side_by_side(shell):
    code, out, _ = shell("train", "-m", "--jobs", "2", *FEW, "seed=0,1", "optimizer.lr=1e30,1e-3")
    assert code == 1
    assert out.splitlines()[-1] == "2 of 4 runs finished"
    reasons = [line.partition(": ")[2] for line in out.splitlines() if ": failed: " in line]
    assert len(reasons) == 2
    assert all(reason.startswith("failed: NonFiniteLossError: the loss is nan") for reason in reasons)


def test_the_command_after_a_sweep_compares_its_groups(shell):
    code, _, err = shell("train", "-m", *TINY, "strategy=scratch,frozen", "seed=0,1")
    assert code == 0
    assert err.splitlines()[-1] == "next: mmrun compare outputs/default --by strategy --against scratch --paired seed"
    code, out, _ = shell(*shlex.split(err.splitlines()[-1])[2:])
    assert code == 0
    assert out.startswith("test/accuracy, higher is better; difference to scratch, paired by seed ")


def test_the_command_after_a_sweep_of_numbers_and_lists_works(shell):
    words = ["optimizer.lr=1e-3,1e-2", "modalities=[image,text],[text]"]
    code, _, err = shell("train", "-m", "encoder.text.dim=32", "budget.epochs=0.1", *words)
    assert code == 0
    command = err.splitlines()[-1]
    assert command == "next: mmrun compare outputs/default --by optimizer.lr,modalities --against 0.001"
    code, out, _ = shell(*shlex.split(command)[2:])
    assert code == 0
    assert out.startswith("test/accuracy, higher is better; difference to ")


def test_a_quiet_sweep_prints_its_result_alone(shell):
    code, out, err = shell("train", "-m", "--quiet", *TINY, "seed=0,1")
    assert (code, err) == (0, "")
    assert [row.split()[0] for row in out.splitlines()[:4:2]] == ["seed", "0"]


def test_runs_may_be_submitted_as_to_a_cluster(shell):
    code, out, _ = shell("train", "-m", *TINY, "hydra/launcher=submitit_local", "seed=0")
    assert code == 0
    assert out.splitlines()[-1] == "1 of 1 run finished"


def test_a_search_gives_each_strategy_as_many_trials(shell):
    """A grid halved at its first rung: the second trial of each strategy is worse than the first, and ends there."""
    words = [
        *(
            "train",
            "-m",
            *FEW,
            "sweep=grid",
            "sweep.reduction_factor=2",
            "sweep.parallel_trials=1",
            "budget.epochs=0.3",
        ),
        *("trainer.evaluate_every=0.1", "strategy=scratch,frozen", "optimizer.lr=3e-2,1e-6"),
    ]
    code, out, err = shell(*words)
    assert code == 0, err
    table = [line.split() for line in out.splitlines()]
    assert table[0][:6] == ["trials", "finished", "pruned", "failed", "epochs", "best"]
    assert table[2][:5] == ["strategy=scratch", "2", "1", "1", "0"]
    assert table[3][:5] == ["strategy=frozen", "2", "1", "1", "0"]
    (file,) = Path("outputs/default/.sweeps").glob("grid-*.json")
    told = json.loads(file.read_text())
    assert (told["metric"], told["curve"]) == ("val/accuracy", "expected best")
    for arm in told["arms"]:
        good, bad = arm["values"]
        assert arm["best"]["overrides"][-1] == "optimizer.lr=0.03"
        assert arm["best"]["value"] == good > bad
        assert arm["curve"] == pytest.approx([(good + bad) / 2, 0.75 * good + 0.25 * bad])
    assert (
        told["arms"][0]["best"]["test"] == metrics(Path(told["arms"][0]["best"]["run"]))["metrics"]["test"]["accuracy"]
    )
    before = {path: path.stat().st_mtime_ns for path in Path("outputs").rglob("status.json")}
    assert shell(*words)[:2] == (0, out)
    assert {path: path.stat().st_mtime_ns for path in Path("outputs").rglob("status.json")} == before

    states = {run["name"]: run["status"] for run in json.loads(shell("ls", "--format", "json")[1])}
    assert sorted(states.values()) == ["finished", "finished", "pruned", "pruned"]
    pruned = next(name for name, status in states.items() if status == "pruned")
    assert shell("resume", f"outputs/{pruned}")[0] == 0  # it kept its checkpoint


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        (
            ["-m", "hydra/launcher=basi"],
            "hydra/launcher: no option 'basi'; did you mean 'basic'? (there are ",
        ),
        (["--jobs", "2"], "--jobs: a single run is one job; add -m to train a run for every combination of values"),
        (["-m", "--jobs", "0"], "argument --jobs: 0 is not a whole number from 1 to 1000"),
        (
            ["-m", "--jobs", "2", "hydra/launcher=basic"],
            "--jobs trains on this machine; leave out hydra/launcher=basic",
        ),
        (["-m", "hydra/launcher=far"], "hydra/launcher=far is not installed; "),
        (
            ["-m", "optimizer.lr=interval(0,1)"],
            "optimizer.lr=interval(0,1): only a search can draw from an interval",
        ),
        (["-m", "sweep=tpee"], "sweep: no option 'tpee'; did you mean 'tpe'? (there are grid, random, tpe)"),
        (["-m", "sweep.trials=3"], "sweep.trials=3: no search is chosen; add sweep=grid|random|tpe"),
        (["-m", "sweep=grid", "fusion=sum,mean", "sweep.metric=accurcy"], "no metric 'accurcy' (there are "),
        (
            ["-m", "sweep=grid", "fusion=sum,mean", "--rerun"],
            "--rerun repeats runs, not a search; choose another ",
        ),
        (["sweep=tpe"], "sweep=tpe: only applies to a sweep; add -m"),
    ],
)
def test_a_wrong_word_is_answered_in_a_line(capsys, tmp_path, monkeypatch, words, answer):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(hydra_launcher.EXTRAS, "far", "far-launcher")
    assert main(["train", *words]) == 2
    assert capsys.readouterr().err.startswith(f"mmrun: {answer}")
    assert [path.name for path in tmp_path.iterdir()] == ["digits"]


def test_seeds_train_together(shell):
    words = ["train", "-m", *FEW, "modalities=[image]", "fusion=sum", "trainer.vectorize=true"]
    code, out, err = shell(*words, "seed=0,1,2")
    assert code == 0
    assert "run 1/3: train: 3 runs train 2 at a time\n" in err
    alone = {}
    for seed in range(3):
        folder = shell.train(*FEW, "modalities=[image]", "fusion=sum", f"seed={seed}", "outputs=alone")
        alone[seed] = metrics(folder)["metrics"]["test"]["nll"]
    together = {metrics(folder)["seed"]: metrics(folder)["metrics"]["test"]["nll"] for folder in finished_in(out)}
    assert together == pytest.approx(alone, abs=1e-3)
    code, out, err = shell(*words, "--jobs", "2", "seed=0,1,2,3")
    assert (code, "a sweep of 4 runs, 3 already finished\n" in err) == (0, True)
    assert "trainer.vectorize: trials, and runs of several processes, train alone\n" in err
