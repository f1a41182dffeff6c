import itertools
from statistics import median

import pytest

from mmrun import compose
from mmrun.errors import RunError
from mmrun.instantiate import instantiate
from mmrun.results.folder import RunFolder
from mmrun.search.space import build_arms
from mmrun.search.trials import Report, Trials, alone, best_so_far, expected_best
from tests.results.fabricate import finished, started


def trials_of(file, name="random", overrides=("optimizer.lr=interval(0,1)",), settings=("sweep.trials=3",)):
    search = instantiate(compose.load_option("sweep", name, settings), "sweep")
    return [Trials(search, arm, file, "accuracy", higher_is_better=True) for arm in build_arms(overrides, search)]


class Made:
    """Runs made up: the accuracy of a trial is a function of its words."""

    def __init__(self, folder):
        self.folder = folder
        self.numbers = itertools.count()

    def __call__(self, trial):
        lr = float(trial.overrides[-1].partition("=")[2])
        return finished(self.folder, accuracy=round(1 - (lr - 0.3) ** 2, 6), seed=next(self.numbers))


def search_all(arms, made):
    told = []
    while drawn := [(arm, trial) for arm in arms for trial in arm.next()]:
        for arm, trial in drawn:
            told.append((arm.name, trial.overrides))
            assert arm.tell(trial, made(trial), None)
    return told


def test_every_arm_gets_the_same_number_of_trials_in_turn(tmp_path):
    found = trials_of(tmp_path / "a.journal", overrides=["strategy=scratch,frozen", "optimizer.lr=interval(0,1)"])
    told = search_all(found, Made(tmp_path))
    assert [arm for arm, _ in told] == ["strategy=scratch", "strategy=frozen"] * 3
    assert len({tuple(overrides) for _, overrides in told}) == 6
    result = found[0].result()
    assert (result["trials"], result["finished"], result["pruned"], result["failed"]) == (3, 3, 0, [])
    assert result["best"]["value"] == max(result["values"])
    assert result["best"]["test"] == result["best"]["value"]  # made up so


@pytest.mark.parametrize("name", ["random", "tpe"])
def test_a_killed_search_goes_on_as_it_would_have(tmp_path, name):
    """Killed after each draw and after each result, and with a draw that it did not come to write down."""
    settings = ["sweep.trials=14", "sweep.parallel_trials=2"]
    whole = search_all(trials_of(tmp_path / "whole.journal", name, settings=settings), Made(tmp_path / "whole"))
    made, killed = Made(tmp_path / "killed"), []
    while True:
        (arm,) = trials_of(tmp_path / "killed.journal", name, settings=settings)
        drawn = arm.next()
        if not drawn:
            break
        arm.study.ask(arm.arm.space)
        for number, trial in enumerate(drawn):
            (arm,) = trials_of(tmp_path / "killed.journal", name, settings=settings)
            assert [(t.overrides, t.resumed) for t in arm.next()] == [(t.overrides, True) for t in drawn[number:]]
            killed.append((arm.name, trial.overrides))
            arm.tell(trial, made(trial), None)
    assert killed == whole
    assert len(whole) == 14


def test_tpe_draws_near_the_good_ones(tmp_path):
    told = search_all(trials_of(tmp_path / "a.journal", "tpe", settings=["sweep.trials=40"]), Made(tmp_path))
    drawn = [float(overrides[-1].partition("=")[2]) for _, overrides in told]
    away = [abs(lr - 0.3) for lr in drawn]
    assert median(away[20:]) < median(away[:20]) / 1.5


def test_a_grid_is_each_combination_once(tmp_path):
    overrides = ["fusion=sum,mean", "optimizer.lr=0.1,0.2,0.3"]
    told = search_all(trials_of(tmp_path / "a.journal", "grid", overrides, settings=()), Made(tmp_path))
    assert [tuple(overrides) for _, overrides in told] == [
        (f"fusion={fusion}", f"optimizer.lr={lr}") for fusion in ("sum", "mean") for lr in ("0.1", "0.2", "0.3")
    ]


def test_no_trial_is_drawn_twice(tmp_path):
    overrides = ["fusion=sum,mean,max", "optimizer.lr=0.1,0.2,0.3"]
    told = search_all(trials_of(tmp_path / "a.journal", "tpe", overrides, ["sweep.trials=50"]), Made(tmp_path))
    assert len(told) == 9
    assert len({tuple(overrides) for _, overrides in told}) == 9


def test_a_failed_trial_is_tried_once_more_by_the_next_call(tmp_path):
    (arm,) = trials_of(tmp_path / "a.journal")
    (first,) = arm.next()
    assert arm.tell(first, RunFolder(tmp_path / "none"), "the disk was full")
    search_all([arm], Made(tmp_path))
    assert arm.result()["failed"] == [{"overrides": first.overrides, "reason": "the disk was full"}]
    assert arm.result()["trials"] == 3
    (arm,) = trials_of(tmp_path / "a.journal")
    (again,) = arm.next()
    assert again.overrides == first.overrides
    arm.tell(again, Made(tmp_path / "again")(again), None)
    assert arm.next() == []
    assert (arm.result()["trials"], arm.result()["failed"]) == (3, [])


def test_a_run_that_is_not_over_stays_open(tmp_path):
    (arm,) = trials_of(tmp_path / "a.journal")
    (trial,) = arm.next()
    assert not arm.tell(trial, started(tmp_path), None)
    assert arm.next()[0].overrides == trial.overrides


def test_successive_halving_ends_what_is_not_among_the_best(tmp_path):
    settings = ["sweep.trials=4", "sweep.reduction_factor=2", "sweep.parallel_trials=4"]
    (arm,) = trials_of(tmp_path / "a.journal", settings=settings)
    figures = [[0.5, 0.6, 0.7], [0.4], [0.55, 0.5], [0.3]]
    for trial, values in zip(arm.next(), figures, strict=True):
        folder = started(tmp_path, seed=trial.number)
        for evaluation, value in enumerate(values, start=1):
            worth = Report(**arm.report(trial)).worth_it(value, evaluation)  # anew each time, as from another process
            assert worth == (evaluation < len(values) or len(values) == 3)
        folder.status.write("pruned")
        arm.tell(trial, folder, None)
    result = arm.result()
    assert (result["pruned"], result["values"], result["best"]) == (4, [0.7, 0.4, 0.5, 0.3], None)


def test_two_processes_do_not_run_one_search(tmp_path):
    file = tmp_path / "sweeps" / "a.journal"
    with alone(file), pytest.raises(RunError, match="another process runs this search"), alone(file):
        pass


def test_half_a_line_is_dropped(tmp_path):
    file = tmp_path / "a.journal"
    search_all(trials_of(file), Made(tmp_path))
    whole = file.read_bytes()
    file.write_bytes(whole + b'{"op_code": 5, "wor')
    with alone(file):
        assert file.read_bytes() == whole
        (arm,) = trials_of(file)
        assert arm.result()["trials"] == 3


def test_the_expected_best_of_k_trials():
    """Two values, drawn twice with replacement: the better one comes in 3 of 4 cases."""
    assert expected_best([0.5, 1.0], higher_is_better=True) == [0.75, 0.875]
    assert expected_best([0.5, 1.0], higher_is_better=False) == [0.75, 0.625]
    assert expected_best([0.25], higher_is_better=True) == [0.25]
    assert best_so_far([0.5, 0.25, 0.75], higher_is_better=True) == [0.5, 0.5, 0.75]
    assert best_so_far([0.5, 0.25, 0.75], higher_is_better=False) == [0.5, 0.25, 0.25]
