"""A finished run, opened to be compressed: with its data where they are there."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor

from mmrun.config import RunConfig
from mmrun.data.loader import Loader
from mmrun.deploy.agreement import choose_rows
from mmrun.deploy.compress.steps import Material, Step, apply_steps
from mmrun.deploy.predictor import open_predictor
from mmrun.errors import ConfigError, DamagedError, DataError
from mmrun.head import Head
from mmrun.models.multimodal import Multimodal
from mmrun.results.folder import RunFolder
from mmrun.run.data import Fitted
from mmrun.run.fitted import restore_fitted
from mmrun.run.pipeline import reopen
from mmrun.run.session import Session
from mmrun.training.callback import Callback
from mmrun.training.grad_accumulation import first_rows
from mmrun.types import Batch

EXAMPLE_ROWS = 4  # on which shapes are traced
TAYLOR_ROWS = 1024  # of the training rows, at most, from which importance is estimated
IMPORTANCES = ("l1", "taylor")


@dataclass(frozen=True)
class Source:
    """The run to compress.

    Attributes:
        folder: of the run.
        config: of the run.
        fitted: its preprocessors and tasks.
        model: with its final weights, in eval mode; it is not changed.
        accelerator: device and precision.
        head: that represents the run.
        batch: a few rows.
        session: its data; None: they are not there.
    """

    folder: RunFolder
    config: RunConfig
    fitted: Fitted
    model: Multimodal
    accelerator: Accelerator
    head: Head
    batch: Batch
    session: Session | None

    def predict(self, model: Multimodal, batch: Batch) -> dict[str, Tensor]:
        """Return the outputs of the run's head by task, [B, C].

        Args:
            model: the run's, or a compressed one.
            batch: rows.
        """
        modality = self.head.modality
        return model(batch) if modality is None else model.forward_unimodal(batch, modality)

    def compress(self, steps: list[Step], importance: str) -> Material:
        """Compress a copy of the model.

        Args:
            steps: in their order.
            importance: l1 or taylor.

        Raises:
            ConfigError: a step changes nothing, or importance needs the data, which are not there.
        """
        model = copy.deepcopy(self.model).eval()
        if importance == "taylor" and self.session is None:
            raise ConfigError("--importance taylor: needs the training rows, which are not there; use --importance l1")
        compute = partial(self._compute_gradients, model) if importance == "taylor" else dict[str, Tensor]
        record = self.folder.read_compression()
        drops = [] if record is None else list(record["structure"]["drops"])
        material = Material(model, self.batch, compute, drops)
        apply_steps(material, steps)
        return material

    def _compute_gradients(self, model: Multimodal) -> Mapping[str, Tensor]:
        """Return the mean gradient of the loss over some labelled training rows, by parameter."""
        assert self.session is not None
        rows = self.session.data.rows["labelled"][:TAYLOR_ROWS]
        batches = list(self.session.loader(rows, self.config.trainer.eval_batch_size, self.session.columns).ordered())
        required = {name: parameter.requires_grad for name, parameter in model.named_parameters()}
        model.requires_grad_(True)
        for batch in batches:
            outputs = self.predict(model, batch)
            losses = [task.loss(outputs[name], batch.targets[name]) for name, task in self.fitted.tasks.items()]
            (torch.stack(losses).sum() / len(batches)).backward()
        gradients = {}
        for name, parameter in model.named_parameters():
            if parameter.grad is not None:
                gradients[name] = parameter.grad
            parameter.grad = None
            parameter.requires_grad_(required[name])
        return gradients


def open_source(folder: RunFolder, callback: Callback, rows: Path | None = None) -> Source:
    """Open a run to compress it.

    Args:
        folder: of a finished run.
        callback: gets messages.
        rows: a file of example rows; None: the validation rows or, without the data, rows of noise.

    Raises:
        ConfigError: the run is not finished, or trains no head.
        DamagedError: its files are not what was written.
    """
    if folder.finished and folder.read_metrics()["primary_head"] is None:
        raise ConfigError(f"{folder.name}: its strategy trains no head, so nothing says whether it still works")
    try:
        session = reopen(folder, callback)
    except DamagedError:
        raise
    except DataError as error:
        callback.on_message(f"its data is not there ({error}), so it is compressed without metrics")
        return _open_without_data(folder, callback, rows)
    head = Head.parse(str(folder.read_metrics()["primary_head"]))
    batch = first_rows(next(session.ordered("val", session.columns)), EXAMPLE_ROWS)
    fitted = restore_fitted(session.config, folder.read_fitted())
    return Source(folder, session.config, fitted, session.model, session.accelerator, head, batch, session)


def _open_without_data(folder: RunFolder, callback: Callback, file: Path | None) -> Source:
    predictor = open_predictor(folder, callback)
    rows = choose_rows(predictor, file, EXAMPLE_ROWS).rows
    numbers = np.arange(min(EXAMPLE_ROWS, len(rows.ids)))
    columns = predictor.decode(rows, numbers)
    batch = next(Loader(columns, {}, numbers, EXAMPLE_ROWS, device=predictor.accelerator.device).ordered())
    return Source(
        folder,
        predictor.config,
        predictor.fitted,
        predictor.model,
        predictor.accelerator,
        predictor.head,
        batch,
        None,
    )
