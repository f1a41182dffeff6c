"""Outputs and metrics of a model when modalities are missing, shuffled between rows or corrupted.

A condition maps each modality to a variant of its input. In one pass over the rows, every modality is encoded once per
variant that occurs in any condition; then the features are fused once per condition.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Generator, Tensor

from mmrun.evaluation.corruptions import CORRUPTIONS
from mmrun.head import FUSED
from mmrun.models.items import map_items
from mmrun.run import metrics as run_metrics
from mmrun.run.metrics import Metrics
from mmrun.run.session import Session
from mmrun.seeding import named_seed
from mmrun.types import Batch, Features, Input


class Variant(NamedTuple):
    """A variant of one modality's input.

    Attributes:
        name: clean, zeros, shuffled (the content of another row), or a corruption of the modality's kind.
        severity: of the corruption, 0 to 1.
    """

    name: str
    severity: float = 0.0


CLEAN, ZEROS, SHUFFLED = Variant("clean"), Variant("zeros"), Variant("shuffled")

Condition = Mapping[str, Variant]  # by modality; a modality that is not named is absent
Outputs = dict[str, Tensor]  # by task, [N, C]


def evaluate_conditions(
    session: Session, split: str, conditions: Sequence[Condition]
) -> tuple[list[Metrics], dict[str, np.ndarray]]:
    """Compute the metrics of the fused model under each condition. Equal conditions are evaluated once.

    Args:
        session: the run, opened again.
        split: val or test.
        conditions: variants of the input.

    Returns:
        the metrics in the order of the conditions, and the targets by task, [N] or [N, C].
    """
    distinct = {frozenset(condition.items()): condition for condition in conditions}
    outputs, targets = predict_conditions(session, split, list(distinct.values()))
    metrics: dict[frozenset[tuple[str, Variant]], Metrics] = {}
    for key, by_task in zip(distinct, outputs, strict=True):
        metrics[key] = run_metrics.compute_metrics(session, {FUSED: by_task}, targets)
    target_arrays = {task: target.numpy() for task, target in targets.items()}
    return [metrics[frozenset(condition.items())] for condition in conditions], target_arrays


@torch.no_grad()
def predict_conditions(
    session: Session, split: str, conditions: Sequence[Condition]
) -> tuple[list[Outputs], dict[str, Tensor]]:
    """Compute the fused outputs under each condition.

    The rows come in a random order, the same in each call: a corruption that takes values from the rest of the batch
    must not find only rows of one class there.

    Args:
        session: the run, opened again.
        split: val or test.
        conditions: variants of the input.

    Returns:
        the outputs by task in the order of the conditions, and the targets by task, all on the CPU.
    """
    rows = _random_generator(session, "rows").permutation(session.data.rows[split])
    last_use: dict[tuple[str, Variant], int] = {}
    for position, condition in enumerate(conditions):
        last_use.update(dict.fromkeys(condition.items(), position))
    shuffled_modalities = [modality for modality, variant in last_use if variant == SHUFFLED]
    outputs: list[list[Outputs]] = [[] for _ in conditions]
    targets: list[Outputs] = []
    for number, (batch, shuffled) in enumerate(_iterate_batches(session, rows, shuffled_modalities)):
        clean = {modality: _encode(session, modality, x) for modality, x in batch.inputs.items()}
        encoded = {(modality, CLEAN): features for modality, features in clean.items()}
        for position, condition in enumerate(conditions):
            features = dict(clean)  # a fusion also reads an absent modality, but must not use it
            for modality, variant in condition.items():
                if (modality, variant) not in encoded:
                    x = _make_input(session, batch, shuffled, number, modality, variant)
                    encoded[modality, variant] = _encode(session, modality, x)
                features[modality] = encoded[modality, variant]
            outputs[position].append(_fuse(session, features, batch, condition))
            for pair in condition.items():
                if last_use[pair] == position and pair[1] != CLEAN:
                    del encoded[pair]
        targets.append(batch.targets)
    return [_concatenate(parts) for parts in outputs], _concatenate(targets)


def _iterate_batches(
    session: Session, rows: np.ndarray, shuffled_modalities: Sequence[str]
) -> Iterator[tuple[Batch, dict[str, Input]]]:
    """Yield the batches, each with the input that the shuffled modalities take from other rows."""
    size = session.config.trainer.eval_batch_size
    loaders: dict[str, Iterator[Batch]] = {}
    for modality in shuffled_modalities:
        shuffled_rows = _shuffle_rows(session, modality, rows)
        loaders[modality] = session.loader(shuffled_rows, size, [modality]).ordered()
    for batch in session.loader(rows, size, session.columns).ordered():
        yield batch, {modality: next(loader).inputs[modality] for modality, loader in loaders.items()}


def _shuffle_rows(session: Session, modality: str, rows: np.ndarray) -> np.ndarray:  # [N], [N]
    """Return a permutation that maps each row with the modality to another such row, in one random cycle."""
    present = session.columns[modality].present.numpy()[rows]
    cycle = _random_generator(session, f"shuffled/{modality}").permutation(np.flatnonzero(present))
    shuffled = rows.copy()
    shuffled[cycle] = rows[np.roll(cycle, 1)]
    return shuffled


def _make_input(
    session: Session, batch: Batch, shuffled: Mapping[str, Input], number: int, modality: str, variant: Variant
) -> Input:
    """Return a variant of the input of one modality, for the batch with this number."""
    x = batch.inputs[modality]
    if variant == ZEROS:
        if isinstance(x, dict):
            return {part: torch.zeros_like(value) for part, value in x.items()}
        return torch.zeros_like(x)
    if variant == SHUFFLED:
        return shuffled[modality]
    seed = named_seed(session.config.seed, f"evaluation/{modality}/{variant.name}/{number}")
    generator = Generator(session.accelerator.device).manual_seed(seed)
    corrupt = CORRUPTIONS[session.data.kinds[modality]][variant.name]
    return map_items(lambda items: corrupt(items, variant.severity, generator), x)


def _encode(session: Session, modality: str, x: Input) -> Features:
    """Encode one modality."""
    with session.accelerator.autocast():
        features: Features = session.model.encoder[modality](x)
    return features


def _fuse(session: Session, features: dict[str, Features], batch: Batch, condition: Condition) -> Outputs:
    """Fuse the features; modalities that the condition does not name count as missing in every row."""
    present: dict[str, Tensor] = {}
    for modality, rows_with_modality in batch.present.items():
        present[modality] = rows_with_modality & (modality in condition)
    with session.accelerator.autocast():
        fused = session.model.fusion(features, present)
        return session.model.forward_head(fused)


def _concatenate(parts: Sequence[Outputs]) -> Outputs:
    """Join the batches, on the CPU."""
    joined: Outputs = {}
    for task in parts[0]:
        joined[task] = torch.cat([part[task] for part in parts]).cpu()
    return joined


def _random_generator(session: Session, name: str) -> np.random.Generator:
    return np.random.default_rng(named_seed(session.config.seed, f"evaluation/{name}"))
