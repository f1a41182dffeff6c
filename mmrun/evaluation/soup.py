"""Several runs as one model: the mean of their weights (model soups: Wortsman et al., 2022)."""

from collections.abc import Sequence

import numpy as np
import torch

from mmrun.errors import ConfigError
from mmrun.results.folder import RunFolder
from mmrun.results.predictions import parse_primary_head
from mmrun.run import init_from
from mmrun.run.pipeline import reopen
from mmrun.training import checkpoint, engine
from mmrun.training.callback import Callback


def soup(runs: Sequence[RunFolder], splits: Sequence[str], callback: Callback) -> dict[str, dict[str, np.ndarray]]:
    """Return the predictions of the mean weights by split and task: [N, C], rows in the order of stored predictions.

    It is sensible for runs that started from the same weights and were fine-tuned in different ways.
    """
    session = reopen(runs[0], callback)
    checkpoint.load_weights(session.model, mean_weights(runs), runs[0].path)
    head = parse_primary_head(runs[0].read_metrics())
    said = {}
    for split in splits:
        batches = session.ordered(split, session.columns)
        outputs, _, _ = engine.predict(session.model, [head], batches, session.accelerator)
        said[split] = {task: session.data.tasks[task].scores(output).numpy() for task, output in outputs[head].items()}
    return said


def mean_weights(runs: Sequence[RunFolder]) -> dict[str, torch.Tensor]:
    """Return the mean of the runs' final weights; counters are the first one's."""
    every = [init_from.final_weights(*init_from.open_config(str(run.path), "--method soup")) for run in runs]
    first = every[0]
    for run, weights in zip(runs, every, strict=True):
        unlike = [name for name in first if name not in weights or weights[name].shape != first[name].shape]
        if unlike or len(weights) != len(first):
            raise ConfigError(f"--method soup: {run.name} has other parts than {runs[0].name}; give runs of one model")
    return {
        name: torch.stack([weights[name] for weights in every]).mean(0) if tensor.is_floating_point() else tensor
        for name, tensor in first.items()
    }
