"""What a model says when modalities are missing, exchanged or spoiled.

A condition says what each modality gives. In one pass over the rows every modality is encoded once for each thing that
it gives in any condition; then the features are fused once for each condition.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Generator, Tensor

from mmrun.evaluation.corruptions import CORRUPTIONS
from mmrun.head import FUSED
from mmrun.run import metrics as run_metrics
from mmrun.run.session import Session
from mmrun.seeding import named_seed
from mmrun.types import Batch, Features, Input


class Given(NamedTuple):
    """What a modality gives: clean | zeros | shuffled (the content of another row), or a corruption of its kind."""

    name: str
    severity: float = 0.0


CLEAN, ZEROS, SHUFFLED = Given("clean"), Given("zeros"), Given("shuffled")

Condition = Mapping[str, Given]  # by modality; one that is not named is absent
Outputs = dict[str, Tensor]  # by task, [N, C]


def measure(
    session: Session, split: str, conditions: Sequence[Condition]
) -> tuple[list[dict[str, float]], dict[str, np.ndarray]]:
    """Return all figures under each condition, and the targets; conditions that are alike are met once."""
    distinct = {frozenset(condition.items()): condition for condition in conditions}
    outputs, targets = answer(session, split, list(distinct.values()))
    found = {
        key: run_metrics.compute_metrics(session, {FUSED: by_task}, targets)
        for key, by_task in zip(distinct, outputs, strict=True)
    }
    return [found[frozenset(condition.items())] for condition in conditions], {
        task: target.numpy() for task, target in targets.items()
    }


@torch.no_grad()
def answer(session: Session, split: str, conditions: Sequence[Condition]) -> tuple[list[Outputs], dict[str, Tensor]]:
    """Return the fused outputs under each condition, and the targets.

    The rows come in an order of chance, the same at each call: a corruption that borrows from the batch must not find
    rows of one class there.
    """
    rows = _rng(session, "rows").permutation(session.data.rows[split])
    last_use = {pair: place for place, condition in enumerate(conditions) for pair in condition.items()}
    exchanged = [modality for modality, given in last_use if given == SHUFFLED]
    outputs: list[list[Outputs]] = [[] for _ in conditions]
    targets: list[Outputs] = []
    for number, (batch, other) in enumerate(_batches(session, rows, exchanged)):
        clean = {modality: _encode(session, modality, x) for modality, x in batch.inputs.items()}
        encoded = {(modality, CLEAN): features for modality, features in clean.items()}
        for place, condition in enumerate(conditions):
            for pair in condition.items():
                if pair not in encoded:
                    encoded[pair] = _encode(session, pair[0], _content(session, batch, other, number, *pair))
            features = clean | {modality: encoded[modality, given] for modality, given in condition.items()}
            outputs[place].append(_fuse(session, features, batch, condition))
            for pair in condition.items():
                if last_use[pair] == place and pair[1] != CLEAN:
                    del encoded[pair]
        targets.append(batch.targets)
    return [_joined(parts) for parts in outputs], _joined(targets)


def _batches(session: Session, rows: np.ndarray, exchanged: Sequence[str]) -> Iterator[tuple[Batch, dict[str, Input]]]:
    """Return the rows, and beside them what each exchanged modality gets from others."""
    size = session.config.trainer.eval_batch_size
    others = [session.loader(_others(session, m, rows), size, [m]).ordered() for m in exchanged]
    for batch in session.loader(rows, size, session.columns).ordered():
        yield batch, {m: next(other).inputs[m] for m, other in zip(exchanged, others, strict=True)}


def _others(session: Session, modality: str, rows: np.ndarray) -> np.ndarray:  # [N], [N]
    """Return a permutation that maps each row with the modality to another such row, in one random cycle."""
    present = session.columns[modality].present.numpy()[rows]
    cycle = _rng(session, f"shuffled/{modality}").permutation(np.flatnonzero(present))
    others = rows.copy()
    others[cycle] = rows[np.roll(cycle, 1)]
    return others


def _content(
    session: Session, batch: Batch, other: Mapping[str, Input], number: int, modality: str, given: Given
) -> Input:
    """Make what a modality gives in one batch."""
    x = batch.inputs[modality]
    if given == ZEROS:
        return (
            {part: torch.zeros_like(value) for part, value in x.items()} if isinstance(x, dict) else torch.zeros_like(x)
        )
    if given == SHUFFLED:
        return other[modality]
    seed = named_seed(session.config.seed, f"evaluation/{modality}/{given.name}/{number}")
    draw = Generator(session.accelerator.device).manual_seed(seed)
    spoiled: Input = CORRUPTIONS[session.data.kinds[modality]][given.name](x, given.severity, draw)
    return spoiled


def _encode(session: Session, modality: str, x: Input) -> Features:
    with session.accelerator.autocast():
        features: Features = session.model.encoder[modality](x)
    return features


def _fuse(session: Session, features: dict[str, Features], batch: Batch, condition: Condition) -> Outputs:
    present = {modality: here & (modality in condition) for modality, here in batch.present.items()}
    with session.accelerator.autocast():
        fused = session.model.fusion(features, present)
        return {task: head(fused) for task, head in session.model.head.items()}


def _joined(parts: Sequence[Outputs]) -> Outputs:
    return {task: torch.cat([part[task] for part in parts]).cpu() for task in parts[0]}


def _rng(session: Session, name: str) -> np.random.Generator:
    return np.random.default_rng(named_seed(session.config.seed, f"evaluation/{name}"))
