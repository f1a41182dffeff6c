"""The trials of a search, in a file that outlives it: what was drawn, its figures on the way, what became of it."""

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
from mmrun.results.index import status
from mmrun.results.selection import metric_value
from mmrun.search import Search
from mmrun.search.space import Arm
from mmrun.seeding import named_seed

ATTEMPTS = 100  # to draw a trial that was not drawn before
LOCKED = 10  # seconds after which the lock of a killed process is broken; a living one holds it for milliseconds
DRAWN, RUN, REASON = "overrides", "run", "reason"  # what a trial remembers; one without words was never told of

optuna.logging.set_verbosity(optuna.logging.ERROR)


@dataclass(frozen=True)
class Trial:
    """One draw."""

    number: int
    overrides: list[str]
    resumed: bool  # drawn by a search that was killed


class Trials:
    """All trials of one arm, kept in a file."""

    def __init__(self, search: Search, arm: Arm, file: Path, metric: str, higher_is_better: bool) -> None:
        self.search, self.arm, self.file, self.metric = search, arm, file, metric
        self.higher_is_better = higher_is_better
        self.name = arm.name or "all"
        direction = StudyDirection.MAXIMIZE if higher_is_better else StudyDirection.MINIMIZE
        self.study = optuna.create_study(
            storage=_storage(file), study_name=self.name, direction=direction, load_if_exists=True
        )
        for trial in self.study.get_trials(deepcopy=False, states=[TrialState.RUNNING]):
            if DRAWN not in trial.user_attrs:  # killed while it was drawn
                self.study.tell(trial.number, state=TrialState.FAIL)
        failed = [trial for trial in self.all() if trial.state is TrialState.FAIL]
        self.failed_before = {trial.number for trial in failed}  # they are tried once more
        self.repeat = [trial.params for trial in failed]

    def all(self) -> list[FrozenTrial]:
        """Return every trial so far."""
        return [trial for trial in self.study.get_trials(deepcopy=False) if DRAWN in trial.user_attrs]

    def next(self) -> list[Trial]:
        """Return the next trials to train in parallel: first those drawn earlier but not trained; none at the end."""
        known = [trial for trial in self.all() if trial.number not in self.failed_before]
        open_ = [trial for trial in known if trial.state is TrialState.RUNNING]
        trials = [Trial(trial.number, trial.user_attrs[DRAWN], True) for trial in open_]
        together = self.search.parallel_trials
        wanted = -len(known) % together if open_ else together  # a round that was cut off is filled up, no more
        for _ in range(min(wanted, self.arm.trials(self.search) - len(known))):
            drawn = self._draw()
            if drawn is None:
                break
            trials.append(drawn)
        return trials

    def tell(self, trial: Trial, folder: RunFolder, failure: str | None) -> bool:
        """Note what became of a trial; False where it is not over."""
        self._remember(trial, RUN, str(folder.path))
        said = status(folder)
        if failure is not None or said["status"] == "failed":
            self.refuse(trial, failure or said["message"])
        elif said["status"] == "pruned":
            self.study.tell(trial.number, state=TrialState.PRUNED)
        elif said["status"] != "finished":
            return False
        elif (value := metric_value(folder.metrics(), f"val/{self.metric}")) is not None:
            self.study.tell(trial.number, value)
        else:
            self.refuse(trial, f"the run has no val/{self.metric}")
        return True

    def refuse(self, trial: Trial, reason: str) -> None:
        """Note that a trial failed."""
        self._remember(trial, REASON, reason)
        self.study.tell(trial.number, state=TrialState.FAIL)

    def _remember(self, trial: Trial, key: str, value: str) -> None:
        optuna.Trial(self.study, self.study.trials[trial.number]._trial_id).set_user_attr(key, value)

    def result(self) -> dict[str, Any]:
        """Sum the trials up; a pruned one counts with its last figure."""
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
                {"overrides": trial.user_attrs[DRAWN], "reason": trial.user_attrs[REASON]}
                for trial in by_state[TrialState.FAIL]
            ],
            "epochs": sum(_epochs(RunFolder(trial.user_attrs[RUN])) for trial in over if RUN in trial.user_attrs),
            "best": None if best is None else self._best(best),
            "values": values,
            "curve": curve(values, self.higher_is_better),
        }

    def _best(self, trial: FrozenTrial) -> dict[str, Any]:
        """Describe a trial, its figure on the test rows too, by which nothing was chosen."""
        run = trial.user_attrs[RUN]
        test = metric_value(RunFolder(run).metrics(), f"test/{self.metric}")
        return {"value": _value(trial), "test": test, "overrides": trial.user_attrs[DRAWN], "run": run}

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
        known = [t.user_attrs[DRAWN] for t in self.all() if t.number not in self.failed_before]
        for sampler in self._samplers(known):
            self.study.sampler = sampler
            asked = self.study.ask(self.arm.space)
            overrides = self.arm.overrides(asked.params)
            if overrides not in known:
                asked.set_user_attr(DRAWN, overrides)
                return Trial(asked.number, overrides, False)
            self.study.tell(asked, state=TrialState.FAIL)
        return None

    def _samplers(self, known: list[list[str]]) -> Iterator[BaseSampler]:
        """Return the sampler of the next trial, seeded by its number alone, so that a killed search continues."""
        given = self.repeat if self.search.sampler else [*self.repeat, *self.arm.combinations()]
        yield from (_given(values) for values in given if self.arm.overrides(values) not in known)
        if self.search.sampler is not None:
            for attempt in range(ATTEMPTS):
                seed = named_seed(self.search.seed, f"{self.name}/{len(known)}/{attempt}")
                yield self.search.sampler(seed=seed % 2**32)


class Report:
    """What a run tells its search while it trains, from whatever process that is in.

    Successive halving (Jamieson and Talwalkar, 2016), without waiting for one another (Li et al., 2020): at evaluations
    first_rung * prune**0, 1, 2 ... a run goes on only if its figure is among the best 1/prune of those seen there.
    """

    def __init__(self, file: str, name: str, number: int, metric: str, reduction_factor: int, first_rung: int) -> None:
        pruner = optuna.pruners.SuccessiveHalvingPruner(min_resource=first_rung, reduction_factor=reduction_factor)
        study = optuna.load_study(storage=_storage(Path(file)), study_name=name, pruner=pruner)
        self.key = f"val/{metric}"
        self.trial = optuna.Trial(study, study.trials[number]._trial_id)

    def worth_it(self, value: float, evaluation: int) -> bool:
        """Return whether to go on, given the figure of an evaluation (1, 2, ...)."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a run that goes on from a checkpoint may report a second time
            self.trial.report(value, evaluation)
        return not self.trial.should_prune()


@contextmanager
def alone(file: Path) -> Iterator[None]:
    """Keep a second process from running the same search, and drop a line that a full disk left half written."""
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
    events = folder.events() if folder.log_file.exists() else ()
    return sum({event["stage"]: event["epochs"] for event in events if event["event"] == "evaluated"}.values())


def _storage(file: Path) -> JournalStorage:
    path = str(file.resolve())
    lock = JournalFileSymlinkLock(path, grace_period=LOCKED)
    return JournalStorage(JournalFileBackend(path, lock))


def _given(values: dict[str, Any]) -> BaseSampler:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Optuna calls it experimental
        return PartialFixedSampler(values, RandomSampler())


def expected_best(values: Sequence[float], higher_is_better: bool) -> list[float]:
    """Return the expected best of k = 1, 2, ... trials drawn like these (Dodge et al., 2019)."""
    rising = sorted(values, reverse=not higher_is_better)
    total = len(rising)
    return [
        sum(value * ((i / total) ** k - ((i - 1) / total) ** k) for i, value in enumerate(rising, start=1))
        for k in range(1, total + 1)
    ]


def best_so_far(values: Sequence[float], higher_is_better: bool) -> list[float]:
    """Return the best of the first k = 1, 2, ... trials."""
    return list(itertools.accumulate(values, max if higher_is_better else min))
