"""What the later stages did to an encoder: its features after the stage that first taught it, and at the end."""

import warnings
from typing import Any, NamedTuple

import numpy as np
import torch

from mmrun.run.session import Session
from mmrun.run.stage_checkpoints import load_stage_weights
from mmrun.seeding import named_seed
from mmrun.tasks.classification import Classification
from mmrun.training.stages import Stage
from mmrun.types import IGNORE_INDEX

PROBE_ROWS = 10_000  # training rows that a linear probe is fitted on, at most


class Read(NamedTuple):
    """What an encoder says of some rows that have its modality."""

    rows: np.ndarray  # [n]
    pooled: np.ndarray  # [n, D]


def of_encoders(session: Session) -> dict[str, Any]:
    """Compare, by modality; an encoder that no stage but the last one taught is left out. The model stays as it is.

    `cka` is 1 where the geometry of the features is unchanged. `probe` holds the accuracy, by task, of a logistic
    regression on the features before and after.
    """
    taught = first_taught(session)
    train = _some(session, session.data.rows["labelled"])
    after = {modality: _both(session, modality, train) for modality in taught}
    before = {}
    try:
        for modality, first in taught.items():
            load_stage_weights(session, first)
            session.model.eval()
            before[modality] = _both(session, modality, train)
    finally:
        load_stage_weights(session, last(session))
        session.model.eval()
    return {
        modality: {
            "after_stage": first.name,
            "rows": len(after[modality][1].rows),
            "cka": cka(before[modality][1].pooled, after[modality][1].pooled),
            "probe": {
                task: {
                    "before": probe(session, task, *before[modality]),
                    "after": probe(session, task, *after[modality]),
                }
                for task, kind in session.data.tasks.items()
                if isinstance(kind, Classification)
            },
        }
        for modality, first in taught.items()
    }


def last(session: Session) -> Stage:
    """Return the last stage."""
    return list(session.stages.values())[-1]


def first_taught(session: Session) -> dict[str, Stage]:
    """Return the stage that first taught each encoder, where another one came after it."""
    found = {}
    for modality in session.columns:
        teaching = [stage for stage in session.stages.values() if modality in stage.trained_encoders]
        if teaching and teaching[0] is not last(session):
            found[modality] = teaching[0]
    return found


def cka(x: np.ndarray, y: np.ndarray) -> float:  # [n, D], [n, D']
    """Linear centred kernel alignment (Kornblith et al., 2019)."""
    x, y = x - x.mean(0), y - y.mean(0)
    scale = np.linalg.norm(x.T @ x) * np.linalg.norm(y.T @ y)
    return float(np.linalg.norm(y.T @ x) ** 2 / scale) if scale > 0 else 0.0


def probe(session: Session, task: str, train: Read, val: Read) -> float:
    """Return the validation accuracy of a logistic regression on standardised features (Alain & Bengio, 2017)."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    target = session.data.table.targets[task].values
    known = target[train.rows] != IGNORE_INDEX
    linear = make_pipeline(StandardScaler(), LogisticRegression(max_iter=200))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # nearly there is as good for a comparison
        linear.fit(train.pooled[known], target[train.rows][known])
    seen = target[val.rows] != IGNORE_INDEX
    return float(linear.score(val.pooled[seen], target[val.rows][seen]))


def _some(session: Session, rows: np.ndarray) -> np.ndarray:
    rng = np.random.default_rng(named_seed(session.config.seed, "evaluation/probe"))
    return np.sort(rng.permutation(rows)[:PROBE_ROWS])


def _both(session: Session, modality: str, train: np.ndarray) -> tuple[Read, Read]:
    return _read(session, modality, train), _read(session, modality, session.data.rows["val"])


@torch.no_grad()
def _read(session: Session, modality: str, rows: np.ndarray) -> Read:
    rows = rows[session.columns[modality].present.numpy()[rows]]
    pooled = []
    for batch in session.loader(rows, session.config.trainer.eval_batch_size, [modality]).ordered():
        with session.accelerator.autocast():
            pooled.append(session.model.encoder[modality](batch.inputs[modality]).pooled.double().cpu())
    return Read(rows, torch.cat(pooled).numpy())
