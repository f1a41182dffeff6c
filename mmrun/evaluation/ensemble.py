"""Several runs as one: what they say together about rows, by ways that are fitted on validation rows alone."""

from collections.abc import Callable, Sequence

import numpy as np

from mmrun.errors import ConfigError, DataError
from mmrun.results.folder import RunFolder
from mmrun.results.predictions import StoredPredictions, parse_primary_head, read_predictions
from mmrun.tasks.classification import Classification
from mmrun.tasks.metrics import METRICS
from mmrun.tasks.regression import Regression
from mmrun.types import Task

ROUNDS = 30  # of greedy selection
TINY = 1e-7  # probabilities are kept so far from 0 and 1 before their logarithm is taken

Scores = np.ndarray  # [M, N, C]: what M members said about N rows
Combine = Callable[[Scores], np.ndarray]  # -> [N, C]


def answers(runs: Sequence[RunFolder], split: str, task: str) -> tuple[Scores, np.ndarray, list[str]]:
    """Read what the members stored about the rows of a split: scores, targets and ids."""
    said: list[StoredPredictions] = [
        read_predictions(run, split, task, parse_primary_head(run.read_metrics())) for run in runs
    ]
    for run, one in zip(runs, said, strict=True):
        if one.ids != said[0].ids or not np.array_equal(one.target, said[0].target, equal_nan=one.target.dtype != int):
            raise DataError(
                f"{run.name}: has other {split} rows than {runs[0].name}; an ensemble is of runs on one data set"
            )
    return np.stack([one.scores for one in said]), said[0].target, said[0].ids


def average(scores: Scores, target: np.ndarray, task: Task) -> Combine:
    """Take the mean of the members; nothing is fitted. Of runs on bootstrap rows this is bagging (Breiman, 1996)."""
    return lambda scores: scores.mean(0)


def vote(scores: Scores, target: np.ndarray, task: Task) -> Combine:
    """Count votes, of numbers take the median; where votes tie, probabilities decide (Hansen & Salamon, 1990)."""
    if isinstance(task, Regression):
        return lambda scores: np.median(scores, axis=0)

    if isinstance(task, Classification):
        return lambda scores: _decided(_one_hot(scores).mean(0), scores.mean(0), len(scores))
    return lambda scores: ((scores >= 0.5).mean(0) + 0.5 * (scores.mean(0) - 0.5) / len(scores)).clip(0, 1)


def _decided(votes: np.ndarray, mean: np.ndarray, members: int) -> np.ndarray:  # all [N, C]
    """Break ties of votes by the mean probabilities."""
    share = votes + 0.5 * mean / members
    return share / share.sum(-1, keepdims=True)


def greedy(scores: Scores, target: np.ndarray, task: Task) -> Combine:
    """Add, again and again, the member that helps the mean most; the best round counts (Caruana et al., 2004)."""
    counts, best, kept = np.zeros(len(scores)), -np.inf, np.ones(len(scores))
    for round in range(ROUNDS):
        total = (counts[:, None, None] * scores).sum(0)
        figures = [_figure(task, (total + one) / (round + 1), target) for one in scores]
        counts[np.lexsort((counts, -np.array(figures)))[0]] += 1  # of equals the one chosen least
        if max(figures) > best:
            best, kept = max(figures), counts.copy()
    return _weighted(kept)


def stack(scores: Scores, target: np.ndarray, task: Task) -> Combine:
    """Stack the members: a linear model reads all their scores (Wolpert, 1992)."""
    from sklearn.linear_model import LogisticRegression, RidgeCV

    visible = _visible(target)
    columns = _columns(scores, task)
    if isinstance(task, Regression):
        ridge = RidgeCV(np.logspace(-3, 3, 7)).fit(columns[visible], target.reshape(len(columns), -1)[visible])
        return lambda scores: ridge.predict(_columns(scores, task)).reshape(len(scores[0]), -1)

    def fitted(wanted: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
        model = LogisticRegression(C=0.1, max_iter=1000).fit(columns[visible], wanted[visible])
        return lambda columns: _spread(model.predict_proba(columns), model.classes_, task.num_outputs)

    if isinstance(task, Classification):
        predict = fitted(target)
        return lambda scores: predict(_columns(scores, task))
    by_label = [fitted(label > 0.5) for label in target.T]
    return lambda scores: np.stack([one(_columns(scores, task))[:, 1] for one in by_label], 1)


def boost(scores: Scores, target: np.ndarray, task: Task) -> Combine:
    """Weigh votes as AdaBoost does: rows that members chosen so far got wrong count more (SAMME: Zhu et al., 2009)."""
    if not isinstance(task, Classification):
        raise ConfigError("--method boost: needs a classification; average, greedy and stack do not")
    visible = _visible(target)
    wrong = (scores.argmax(-1) != target)[:, visible]  # [M, n]
    weight = np.full(visible.sum(), 1 / visible.sum())
    alphas = np.zeros(len(scores))
    for _ in range(len(scores)):
        errors = np.where(alphas > 0, np.inf, (wrong * weight).sum(1))
        chosen = int(errors.argmin())
        error = max(float(errors[chosen]), TINY)
        if error >= 1 - 1 / task.num_outputs:
            break
        alphas[chosen] = np.log((1 - error) / error) + np.log(task.num_outputs - 1)
        weight = weight * np.exp(alphas[chosen] * wrong[chosen])
        weight /= weight.sum()
    votes = _weighted(alphas if alphas.any() else np.ones(len(scores)))
    return lambda scores: votes(_one_hot(scores))


METHODS: dict[str, Callable[[Scores, np.ndarray, Task], Combine]] = {
    "average": average,
    "vote": vote,
    "greedy": greedy,
    "stack": stack,
    "boost": boost,
}


def _weighted(weights: np.ndarray) -> Combine:  # [M]
    shares = weights / weights.sum()
    return lambda scores: np.tensordot(shares, scores, 1)


def _figure(task: Task, scores: np.ndarray, target: np.ndarray) -> float:
    figure = task.metrics(scores, target)[task.primary_metric]
    return figure if METRICS[task.primary_metric] else -figure


def _one_hot(scores: Scores) -> np.ndarray:  # [M, N, C]
    return np.eye(scores.shape[-1])[scores.argmax(-1)]


def _visible(target: np.ndarray) -> np.ndarray:  # [N] bool
    if target.dtype.kind == "i":
        return target >= 0
    return ~np.isnan(target.reshape(len(target), -1)).any(1)


def _columns(scores: Scores, task: Task) -> np.ndarray:  # [N, M * C]
    """Put the members beside each other: logarithms of probabilities, or numbers as they are."""
    said = scores if isinstance(task, Regression) else np.log(scores.clip(TINY, 1))
    return said.transpose(1, 0, 2).reshape(scores.shape[1], -1)


def _spread(probabilities: np.ndarray, classes: np.ndarray, num_outputs: int) -> np.ndarray:  # [N, C]
    """Return a column per class; a class without validation rows is never predicted."""
    whole = np.zeros((len(probabilities), max(num_outputs, 2)))
    whole[:, classes.astype(int)] = probabilities
    return whole
