"""Model soups (Wortsman et al., 2022): several runs as one model with the mean of their weights."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from mmrun.errors import ConfigError
from mmrun.results.folder import RunFolder
from mmrun.results.predictions import parse_primary_head
from mmrun.run import init_from
from mmrun.run.opening import reopen
from mmrun.training import checkpoint, engine
from mmrun.training.callback import Callback


def predict_soup(
    runs: Sequence[RunFolder], splits: Sequence[str], callback: Callback
) -> dict[str, dict[str, np.ndarray]]:
    """Predict with the mean weights of several runs.

    This works for runs that were fine-tuned in different ways from the same initial weights.

    Args:
        runs: finished runs of the same model.
        splits: to predict, val or test.
        callback: gets messages.

    Returns:
        scores by split and task, [N, C], rows in the order of the stored predictions.

    Raises:
        ConfigError: the runs have different models, vocabularies or categories.
    """
    session = reopen(runs[0], callback)
    for run in runs[1:]:
        for line in init_from.check_fits(run, session.data.fits, "--method soup"):
            callback.on_message(f"warning: {line}")
    checkpoint.load_weights(session.model, average_weights(runs), runs[0].path)
    head = parse_primary_head(runs[0].read_metrics())
    scores: dict[str, dict[str, np.ndarray]] = {}
    for split in splits:
        batches = session.ordered(split, session.columns)
        outputs, _, _ = engine.predict(session.model, [head], batches, session.accelerator)
        scores[split] = {}
        for task, output in outputs[head].items():
            scores[split][task] = session.data.tasks[task].scores(output).numpy()
    return scores


def average_weights(runs: Sequence[RunFolder]) -> dict[str, Tensor]:
    """Return the mean of the runs' final weights.

    Args:
        runs: finished runs of the same model.

    Returns:
        by name; integers, such as counters, are those of the first run.

    Raises:
        ConfigError: the runs have different models.
    """
    all_weights = [init_from.final_weights(*init_from.open_config(str(run.path), "--method soup")) for run in runs]
    for run in runs:
        if run.is_int8:
            raise ConfigError(f"--method soup: {run.name} has weights in 8 bits, which have no mean")
    first = all_weights[0]
    for run, weights in zip(runs, all_weights, strict=True):
        if _shapes(weights) != _shapes(first):
            raise ConfigError(
                f"--method soup: the model of {run.name} has other parts than that of {runs[0].name}; "
                "pass runs of the same model"
            )
    averages: dict[str, Tensor] = {}
    for name, tensor in first.items():
        is_float = tensor.is_floating_point()
        averages[name] = torch.stack([weights[name] for weights in all_weights]).mean(0) if is_float else tensor
    return averages


def _shapes(weights: dict[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in weights.items()}
