"""Drift of encoders: their features after the stage that first trained them, compared with those at the end."""

import warnings
from typing import NamedTuple

import numpy as np
import torch

from mmrun.results.evaluation_schema import EncoderDrift, ProbeAccuracy
from mmrun.run.session import Session
from mmrun.run.stage_checkpoints import load_stage_weights
from mmrun.seeding import named_seed
from mmrun.tasks.classification import Classification
from mmrun.training.stages import Stage
from mmrun.types import IGNORE_INDEX

PROBE_ROWS = 10_000  # training rows that a linear probe is fitted on, at most


class PooledFeatures(NamedTuple):
    """Pooled features of the rows that have a modality.

    Attributes:
        rows: row numbers [n].
        pooled: [n, D].
    """

    rows: np.ndarray
    pooled: np.ndarray


Splits = tuple[PooledFeatures, PooledFeatures]  # of labelled training rows and of validation rows


def measure_drift(session: Session) -> dict[str, EncoderDrift]:
    """Compare the features of each encoder after its first stage and at the end of the run.

    Args:
        session: the run, opened again; its model is left as it is.

    Returns:
        by modality: linear CKA on the validation rows, and per classification task the accuracy of a linear probe.
        Encoders that only the last stage trained are left out.
    """
    first_stages = find_first_stages(session)
    train_rows = _sample_rows(session, session.data.rows["labelled"])
    after = {modality: _read_splits(session, modality, train_rows) for modality in first_stages}
    before: dict[str, Splits] = {}
    try:
        for modality, stage in first_stages.items():
            load_stage_weights(session, stage)
            session.model.eval()
            before[modality] = _read_splits(session, modality, train_rows)
    finally:
        load_stage_weights(session, _last_stage(session))
        session.model.eval()
    drift: dict[str, EncoderDrift] = {}
    for modality, stage in first_stages.items():
        drift[modality] = _compare(session, stage, before[modality], after[modality])
    return drift


def _compare(session: Session, stage: Stage, before: Splits, after: Splits) -> EncoderDrift:
    """Compare the features of one encoder."""
    probe: dict[str, ProbeAccuracy] = {}
    for name, task in session.data.tasks.items():
        if isinstance(task, Classification):
            probe[name] = {
                "before": probe_accuracy(session, name, *before),
                "after": probe_accuracy(session, name, *after),
            }
    return {
        "after_stage": stage.name,
        "rows": len(after[1].rows),
        "cka": cka(before[1].pooled, after[1].pooled),
        "probe": probe,
    }


def _last_stage(session: Session) -> Stage:
    return list(session.stages.values())[-1]


def find_first_stages(session: Session) -> dict[str, Stage]:
    """Find the stage that first trained each encoder.

    Args:
        session: the run, opened again.

    Returns:
        by modality. Encoders that only the last stage trained, or none, are left out.
    """
    first_stages: dict[str, Stage] = {}
    for modality in session.columns:
        stages = [stage for stage in session.stages.values() if modality in stage.trained_encoders]
        if stages and stages[0] is not _last_stage(session):
            first_stages[modality] = stages[0]
    return first_stages


def cka(x: np.ndarray, y: np.ndarray) -> float:
    """Return linear centred kernel alignment (Kornblith et al., 2019) of two sets of features of the same rows.

    Args:
        x: [n, D].
        y: [n, E].

    Returns:
        1 if they are equal up to rotation, scale and shift; 0 if either is constant.
    """
    x, y = x - x.mean(0), y - y.mean(0)
    scale = np.linalg.norm(x.T @ x) * np.linalg.norm(y.T @ y)
    return float(np.linalg.norm(y.T @ x) ** 2 / scale) if scale > 0 else 0.0


def probe_accuracy(session: Session, task: str, train: PooledFeatures, val: PooledFeatures) -> float:
    """Return the validation accuracy of a logistic regression on standardised features (Alain & Bengio, 2017).

    Args:
        session: the run, opened again.
        task: name of a classification.
        train: features to fit on.
        val: features to evaluate on. Rows with a hidden target are left out of both.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    target = session.data.table.targets[task].values
    is_visible = target[train.rows] != IGNORE_INDEX
    linear = make_pipeline(StandardScaler(), LogisticRegression(max_iter=200))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # almost converged is good enough for a comparison
        linear.fit(train.pooled[is_visible], target[train.rows][is_visible])
    is_visible = target[val.rows] != IGNORE_INDEX
    return float(linear.score(val.pooled[is_visible], target[val.rows][is_visible]))


def _sample_rows(session: Session, rows: np.ndarray) -> np.ndarray:
    """Draw at most PROBE_ROWS of some rows."""
    rng = np.random.default_rng(named_seed(session.config.seed, "evaluation/probe"))
    return np.sort(rng.permutation(rows)[:PROBE_ROWS])


def _read_splits(session: Session, modality: str, train_rows: np.ndarray) -> Splits:
    """Encode the training and the validation rows."""
    val_rows = session.data.rows["val"]
    return _read_features(session, modality, train_rows), _read_features(session, modality, val_rows)


@torch.no_grad()
def _read_features(session: Session, modality: str, rows: np.ndarray) -> PooledFeatures:
    """Encode the rows that have the modality."""
    rows = rows[session.columns[modality].present.numpy()[rows]]
    pooled = []
    for batch in session.loader(rows, session.config.trainer.eval_batch_size, [modality]).ordered():
        with session.accelerator.autocast():
            pooled.append(session.model.encoder[modality](batch.inputs[modality]).pooled.double().cpu())
    return PooledFeatures(rows, torch.cat(pooled).numpy())
