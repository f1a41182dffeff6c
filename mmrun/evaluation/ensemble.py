"""Ensembles: ways to combine the predictions of several runs, fitted on validation rows alone."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from mmrun.errors import ConfigError, DataError
from mmrun.known_metrics import is_higher_better
from mmrun.results.folder import RunFolder
from mmrun.results.predictions import StoredPredictions, parse_primary_head, read_predictions
from mmrun.tasks.classification import Classification
from mmrun.tasks.regression import Regression
from mmrun.types import Task

ROUNDS = 30  # of greedy selection
EPSILON = 1e-7  # probabilities are clipped to it before their logarithm is taken

Scores = np.ndarray  # [M, N, C]: predictions of M members for N rows
Combiner = Callable[[Scores], np.ndarray]  # -> [N, C]


class MemberPredictions(NamedTuple):
    """Predictions of several runs for the same rows and task.

    Attributes:
        scores: [M, N, C].
        target: [N] classes or numbers, or [N, C].
        ids: of the N rows.
    """

    scores: Scores
    target: np.ndarray
    ids: list[str]


def read_member_predictions(runs: Sequence[RunFolder], split: str, task: str) -> MemberPredictions:
    """Read what the primary heads of the members predicted.

    Args:
        runs: the M members.
        split: val or test.
        task: its name.

    Raises:
        DataError: the members predicted other rows, or the same rows with other targets.
    """
    members: list[StoredPredictions] = []
    for run in runs:
        members.append(read_predictions(run, split, task, parse_primary_head(run.read_metrics())))
    first = members[0]
    for run, member in zip(runs, members, strict=True):
        is_float = member.target.dtype != int
        if member.ids != first.ids or not np.array_equal(member.target, first.target, equal_nan=is_float):
            raise DataError(
                f"{run.name}: its {split} rows differ from those of {runs[0].name}; "
                "the runs of an ensemble need the same data set and split"
            )
    return MemberPredictions(np.stack([member.scores for member in members]), first.target, first.ids)


# ------------------------------------------------------------------------------------------------ ways to combine


def fit_average(scores: Scores, target: np.ndarray, task: Task) -> Combiner:
    """Average the members; nothing is fitted. For runs on bootstrap rows, this is bagging (Breiman, 1996).

    Args:
        scores: [M, N, C] of validation rows.
        target: of these rows, [N] or [N, C].
        task: that was predicted.
    """
    return lambda scores: scores.mean(0)


def fit_vote(scores: Scores, target: np.ndarray, task: Task) -> Combiner:
    """Combine by majority vote (Hansen & Salamon, 1990), numbers by their median; nothing is fitted.

    Args:
        scores: [M, N, C] of validation rows.
        target: of these rows, [N] or [N, C].
        task: that was predicted.

    Returns:
        for classes and labels the share of votes; the mean probabilities decide ties.
    """
    if isinstance(task, Regression):
        return lambda scores: np.median(scores, axis=0)

    if isinstance(task, Classification):
        return lambda scores: _break_ties(_one_hot(scores).mean(0), scores.mean(0), len(scores))
    return lambda scores: ((scores >= 0.5).mean(0) + 0.5 * (scores.mean(0) - 0.5) / len(scores)).clip(0, 1)


def _break_ties(votes: np.ndarray, mean: np.ndarray, num_members: int) -> np.ndarray:  # all [N, C]
    """Add less than one vote of the mean probabilities."""
    shares: np.ndarray = votes + 0.5 * mean / num_members
    shares /= shares.sum(-1, keepdims=True)
    return shares


def fit_greedy(scores: Scores, target: np.ndarray, task: Task) -> Combiner:
    """Add members one by one, with repetition, each time the one that improves the mean most (Caruana et al., 2004).

    Args:
        scores: [M, N, C] of validation rows.
        target: of these rows, [N] or [N, C].
        task: its primary metric selects.

    Returns:
        the mean of the members selected up to the best of ROUNDS rounds.
    """
    counts = np.zeros(len(scores))
    best_counts, best_value = np.ones(len(scores)), -np.inf
    for round_number in range(1, ROUNDS + 1):
        total = (counts[:, None, None] * scores).sum(0)
        values = [_signed_primary_metric(task, (total + member) / round_number, target) for member in scores]
        counts[np.lexsort((counts, -np.array(values)))[0]] += 1  # among equals, the one selected least often
        if max(values) > best_value:
            best_value, best_counts = max(values), counts.copy()
    return _weighted_mean(best_counts)


def fit_stack(scores: Scores, target: np.ndarray, task: Task) -> Combiner:
    """Fit a linear model that reads the scores of all members (stacking: Wolpert, 1992).

    Args:
        scores: [M, N, C] of validation rows.
        target: of these rows, [N] or [N, C]; hidden ones are left out.
        task: that was predicted.

    Returns:
        ridge regression for numbers, logistic regression for classes, and one logistic regression per label.
    """
    if isinstance(task, Regression):
        return _fit_ridge(scores, target, task)
    if isinstance(task, Classification):
        predict = _fit_logistic(scores, target, target, task)
        return lambda scores: predict(_to_columns(scores, task))
    predictors = [_fit_logistic(scores, target, label > 0.5, task) for label in target.T]

    def combine(scores: Scores) -> np.ndarray:
        columns = _to_columns(scores, task)
        return np.stack([predict(columns)[:, 1] for predict in predictors], 1)

    return combine


def _fit_ridge(scores: Scores, target: np.ndarray, task: Task) -> Combiner:
    """Fit a ridge regression on the visible rows."""
    from sklearn.linear_model import RidgeCV

    visible, columns = _is_visible(target), _to_columns(scores, task)
    ridge = RidgeCV(np.logspace(-3, 3, 7)).fit(columns[visible], target.reshape(len(columns), -1)[visible])
    return lambda scores: ridge.predict(_to_columns(scores, task)).reshape(len(scores[0]), -1)


def _fit_logistic(
    scores: Scores, target: np.ndarray, classes: np.ndarray, task: Task
) -> Callable[[np.ndarray], np.ndarray]:  # [N, M * C] -> [N, C]
    """Fit a logistic regression of classes [N] on the rows whose target is visible."""
    from sklearn.linear_model import LogisticRegression

    visible, columns = _is_visible(target), _to_columns(scores, task)
    model = LogisticRegression(C=0.1, max_iter=1000).fit(columns[visible], classes[visible])
    return lambda columns: _insert_classes(model.predict_proba(columns), model.classes_, task.num_outputs)


def fit_boost(scores: Scores, target: np.ndarray, task: Task) -> Combiner:
    """Weigh votes as AdaBoost does for several classes (SAMME: Zhu et al., 2009).

    Members are selected one by one; rows that earlier ones got wrong count more.

    Args:
        scores: [M, N, C] of validation rows.
        target: of these rows [N]; hidden ones are left out.
        task: a classification.

    Raises:
        ConfigError: the task is no classification.
    """
    if not isinstance(task, Classification):
        raise ConfigError("--method boost: needs a classification task; average, greedy and stack do not")
    visible = _is_visible(target)
    is_wrong = (scores.argmax(-1) != target)[:, visible]  # [M, n]
    row_weights = np.full(visible.sum(), 1 / visible.sum())
    alphas = np.zeros(len(scores))
    for _ in range(len(scores)):
        errors = np.where(alphas > 0, np.inf, (is_wrong * row_weights).sum(1))
        selected = int(errors.argmin())
        error = max(float(errors[selected]), EPSILON)
        if error >= 1 - 1 / task.num_outputs:
            break
        alphas[selected] = np.log((1 - error) / error) + np.log(task.num_outputs - 1)
        row_weights = row_weights * np.exp(alphas[selected] * is_wrong[selected])
        row_weights /= row_weights.sum()
    combine_votes = _weighted_mean(alphas if alphas.any() else np.ones(len(scores)))
    return lambda scores: combine_votes(_one_hot(scores))


METHODS: dict[str, Callable[[Scores, np.ndarray, Task], Combiner]] = {
    "average": fit_average,
    "vote": fit_vote,
    "greedy": fit_greedy,
    "stack": fit_stack,
    "boost": fit_boost,
}


def _weighted_mean(weights: np.ndarray) -> Combiner:  # [M]
    """Return a function that averages the members with these weights."""
    shares = weights / weights.sum()
    return lambda scores: np.tensordot(shares, scores, 1)


def _signed_primary_metric(task: Task, scores: np.ndarray, target: np.ndarray) -> float:
    """Return the primary metric, negated if lower is better."""
    value = task.metrics(scores, target)[task.primary_metric]
    return value if is_higher_better(task.primary_metric) else -value


def _one_hot(scores: Scores) -> np.ndarray:  # [M, N, C]
    one_hot: np.ndarray = np.eye(scores.shape[-1])[scores.argmax(-1)]
    return one_hot


def _is_visible(target: np.ndarray) -> np.ndarray:  # [N] bool
    """Return which rows have a target that is not hidden."""
    is_hidden: np.ndarray
    if target.dtype.kind == "i":
        is_hidden = target < 0
    else:
        is_hidden = np.isnan(target.reshape(len(target), -1)).any(1)
    return ~is_hidden


def _to_columns(scores: Scores, task: Task) -> np.ndarray:  # [N, M * C]
    """Return the scores of all members side by side: log-probabilities, or numbers as they are."""
    values = scores if isinstance(task, Regression) else np.log(scores.clip(EPSILON, 1))
    return values.transpose(1, 0, 2).reshape(scores.shape[1], -1)


def _insert_classes(probabilities: np.ndarray, classes: np.ndarray, num_outputs: int) -> np.ndarray:  # [N, C]
    """Return one column per class; a class without validation rows has probability 0."""
    columns = np.zeros((len(probabilities), max(num_outputs, 2)))
    columns[:, classes.astype(int)] = probabilities
    return columns
