"""The trials of a search, in a journal that survives it: overrides, intermediate metrics, results."""

import fcntl
import itertools
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from optuna.samplers import BaseSampler, PartialFixedSampler, RandomSampler
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileSymlinkLock
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from mmrun.errors import RunError
from mmrun.results.folder import RunFolder
from mmrun.results.index import determine_status
from mmrun.results.run_values import get_metric
from mmrun.search import Search
from mmrun.search.space import Arm
from mmrun.seeding import named_seed

MAX_ATTEMPTS = 100  # to draw a trial that was not drawn before
LOCK_TIMEOUT = 10  # seconds until the lock of a killed process is broken; a running one holds it for milliseconds
OVERRIDES, RUN, REASON = "overrides", "run", "reason"  # attributes of a trial

optuna.logging.set_verbosity(optuna.logging.ERROR)


@dataclass(frozen=True)
class Trial:
    """One trial.

    Attributes:
        number: in its study.
        overrides: of its run.
        resumed: drawn by a search that was killed.
    """

    number: int
    overrides: list[str]
    resumed: bool


class Trials:
    """All trials of one arm, stored in a journal file.

    Args:
        search: how to search.
        arm: the search space.
        file: the journal; it may hold other arms.
        metric: on the validation rows, which selects.
        higher_is_better: its direction.
    """

    def __init__(self, search: Search, arm: Arm, file: Path, metric: str, higher_is_better: bool) -> None:
        self.search, self.arm, self.file, self.metric = search, arm, file, metric
        self.higher_is_better = higher_is_better
        self.name = arm.name or "all"
        direction = StudyDirection.MAXIMIZE if higher_is_better else StudyDirection.MINIMIZE
        self.study = optuna.create_study(
            storage=_storage(file), study_name=self.name, direction=direction, load_if_exists=True
        )
        for trial in self.study.get_trials(deepcopy=False, states=[TrialState.RUNNING]):
            if OVERRIDES not in trial.user_attrs:  # killed while drawing
                self.study.tell(trial.number, state=TrialState.FAIL)
        failed = [trial for trial in self.all() if trial.state is TrialState.FAIL]
        self.failed_before = {trial.number for trial in failed}  # these are repeated
        self.repeat = [trial.params for trial in failed]

    def all(self) -> list[FrozenTrial]:
        """Return every trial so far."""
        return [trial for trial in self.study.get_trials(deepcopy=False) if OVERRIDES in trial.user_attrs]

    def next(self) -> list[Trial]:
        """Return the next trials to train in parallel: first those drawn earlier but not trained; none at the end.

        Returns:
            As many trials as may train in parallel; at the end none.
        """
        known = [trial for trial in self.all() if trial.number not in self.failed_before]
        open_ = [trial for trial in known if trial.state is TrialState.RUNNING]
        trials = [Trial(trial.number, trial.user_attrs[OVERRIDES], True) for trial in open_]
        round_size = self.search.parallel_trials
        missing = -len(known) % round_size if open_ else round_size  # an interrupted round is only completed
        for _ in range(min(missing, self.arm.trials(self.search) - len(known))):
            trial = self._draw()
            if trial is None:
                break
            trials.append(trial)
        return trials

    def tell(self, trial: Trial, folder: RunFolder, failure: str | None) -> bool:
        """Store the result of a trial, and return whether it is over.

        Args:
            trial: that was trained.
            folder: of its run.
            failure: the reason, where it failed.
        """
        self._remember(trial, RUN, str(folder.path))
        run_status = determine_status(folder)
        if failure is not None or run_status["status"] == "failed":
            self.refuse(trial, failure or run_status["message"] or "the run gave no reason")
        elif run_status["status"] == "pruned":
            self.study.tell(trial.number, state=TrialState.PRUNED)
        elif run_status["status"] != "finished":
            return False
        elif (value := get_metric(folder.read_metrics(), f"val/{self.metric}")) is not None:
            self.study.tell(trial.number, value)
        else:
            self.refuse(trial, f"the run has no val/{self.metric}")
        return True

    def refuse(self, trial: Trial, reason: str) -> None:
        """Store that a trial failed, and why.

        Args:
            trial: that failed.
            reason: the error message.
        """
        self._remember(trial, REASON, reason)
        self.study.tell(trial.number, state=TrialState.FAIL)

    def _remember(self, trial: Trial, key: str, value: str) -> None:
        optuna.Trial(self.study, self.study.trials[trial.number]._trial_id).set_user_attr(key, value)

    def result(self) -> dict[str, Any]:
        """Return a summary of the trials; a pruned one counts with its last metric."""
        over = [trial for trial in self.all() if trial.number not in self.failed_before]
        by_state = {state: [trial for trial in over if trial.state is state] for state in TrialState}
        finished, pruned = by_state[TrialState.COMPLETE], by_state[TrialState.PRUNED]
        best = (max if self.higher_is_better else min)(finished, key=_value, default=None)
        values = [_value(trial) for trial in sorted(finished + pruned, key=lambda trial: trial.number)]
        curve = expected_best if self.search.independent else best_so_far
        return {
            "arm": self.name,
            "trials": len(over),
            "finished": len(finished),
            "pruned": len(pruned),
            "failed": [
                {"overrides": trial.user_attrs[OVERRIDES], "reason": trial.user_attrs[REASON]}
                for trial in by_state[TrialState.FAIL]
            ],
            "epochs": sum(_epochs(RunFolder(trial.user_attrs[RUN])) for trial in over if RUN in trial.user_attrs),
            "best": None if best is None else self._best(best),
            "values": values,
            "curve": curve(values, self.higher_is_better),
        }

    def _best(self, trial: FrozenTrial) -> dict[str, Any]:
        """Describe the best trial, with its test metric, which did not select it."""
        run = trial.user_attrs[RUN]
        test = get_metric(RunFolder(run).read_metrics(), f"test/{self.metric}")
        return {"value": _value(trial), "test": test, "overrides": trial.user_attrs[OVERRIDES], "run": run}

    def report(self, trial: Trial) -> dict[str, Any] | None:
        """Return the arguments of `Report`; None where trials are not pruned."""
        if self.search.reduction_factor is None:
            return None
        return {
            "file": str(self.file),
            "name": self.name,
            "number": trial.number,
            "metric": self.metric,
            "reduction_factor": self.search.reduction_factor,
            "first_rung": self.search.first_rung,
        }

    def _draw(self) -> Trial | None:
        known = [t.user_attrs[OVERRIDES] for t in self.all() if t.number not in self.failed_before]
        for sampler in self._samplers(known):
            self.study.sampler = sampler
            trial = self.study.ask(self.arm.space)
            overrides = self.arm.overrides(trial.params)
            if overrides not in known:
                trial.set_user_attr(OVERRIDES, overrides)
                return Trial(trial.number, overrides, False)
            self.study.tell(trial, state=TrialState.FAIL)
        return None

    def _samplers(self, known: list[list[str]]) -> Iterator[BaseSampler]:
        """Return the sampler of the next trial, seeded by its number alone, so that a killed search continues."""
        fixed_values = self.repeat if self.search.sampler else [*self.repeat, *self.arm.combinations()]
        for values in fixed_values:
            if self.arm.overrides(values) not in known:
                yield _fixed_sampler(values)
        if self.search.sampler is not None:
            for attempt in range(MAX_ATTEMPTS):
                seed = named_seed(self.search.seed, f"{self.name}/{len(known)}/{attempt}")
                yield self.search.sampler(seed=seed % 2**32)


class Report:
    """Reports the metrics of a running trial to its search, from any process.

    Asynchronous successive halving (Jamieson & Talwalkar, 2016; Li et al., 2020): at evaluations first_rung *
    reduction_factor**0, 1, 2 ... a run continues only if its metric is among the best 1/reduction_factor seen there.

    Args:
        file: the journal.
        name: of the study.
        number: of the trial.
        metric: on the validation rows.
        reduction_factor: one in so many trials continues.
        first_rung: number of evaluations before the first decision.
    """

    def __init__(self, file: str, name: str, number: int, metric: str, reduction_factor: int, first_rung: int) -> None:
        pruner = optuna.pruners.SuccessiveHalvingPruner(min_resource=first_rung, reduction_factor=reduction_factor)
        study = optuna.load_study(storage=_storage(Path(file)), study_name=name, pruner=pruner)
        self.key = f"val/{metric}"
        self.trial = optuna.Trial(study, study.trials[number]._trial_id)

    def worth_it(self, value: float, evaluation: int) -> bool:
        """Return whether to continue, given the metric of an evaluation (1, 2, ...).

        Args:
            value: of the metric.
            evaluation: its number, from 1.
        """
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a resumed run may report an evaluation twice
            self.trial.report(value, evaluation)
        return not self.trial.should_prune()


@contextmanager
def alone(file: Path) -> Iterator[None]:
    """Lock a search against a second process, and drop a line that a full disk left half written.

    Raises:
        RunError: another process runs it.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("ab+") as opened:
        try:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RunError(f"{file}: another process runs this search; wait for it or stop it") from None
        opened.seek(0)
        opened.truncate(opened.read().rfind(b"\n") + 1)
        yield


def _value(trial: FrozenTrial) -> float:
    assert trial.value is not None
    return trial.value


def _epochs(folder: RunFolder) -> float:
    """Return how much a run has trained, finished or not."""
    epochs: dict[str, float] = {}  # by stage, at its last evaluation
    for event in folder.log.read_events() if folder.log_file.exists() else ():
        if event["event"] == "evaluated":
            epochs[event["stage"]] = event["epochs"]
    return sum(epochs.values())


def _storage(file: Path) -> JournalStorage:
    path = str(file.resolve())
    lock = JournalFileSymlinkLock(path, grace_period=LOCK_TIMEOUT)
    return JournalStorage(JournalFileBackend(path, lock))


def _fixed_sampler(values: dict[str, object]) -> BaseSampler:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Optuna calls it experimental
        return PartialFixedSampler(values, RandomSampler())


def expected_best(values: Sequence[float], higher_is_better: bool) -> list[float]:
    """Return the expected best of k = 1, 2, ... trials drawn like these (Dodge et al., 2019).

    Args:
        values: of N trials.
        higher_is_better: direction of the metric.

    Returns:
        [N], for k = 1 ... N.
    """
    rising = sorted(values, reverse=not higher_is_better)
    total = len(rising)
    expected = []
    for k in range(1, total + 1):
        weights = [(i / total) ** k - ((i - 1) / total) ** k for i in range(1, total + 1)]
        expected.append(sum(value * weight for value, weight in zip(rising, weights, strict=True)))
    return expected


def best_so_far(values: Sequence[float], higher_is_better: bool) -> list[float]:
    """Return the best of the first k = 1, 2, ... trials.

    Args:
        values: of N trials, in the order in which they were trained.
        higher_is_better: direction of the metric.
    """
    return list(itertools.accumulate(values, max if higher_is_better else min))
