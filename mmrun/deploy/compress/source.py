"""A finished run, opened to be compressed: with its data where they are there."""

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor

from mmrun.config import RunConfig
from mmrun.data.loader import Loader
from mmrun.deploy.agreement import choose_rows, decode
from mmrun.deploy.compress.steps import Material, Step, apply_steps
from mmrun.deploy.predictor import Predictor, open_predictor
from mmrun.errors import ConfigError, DamagedError, DataError
from mmrun.head import Head
from mmrun.models.compress.int8 import Quantization
from mmrun.models.multimodal import Multimodal
from mmrun.results.folder import RunFolder
from mmrun.run.data import Fitted
from mmrun.run.fitted import restore_fitted
from mmrun.run.opening import reopen
from mmrun.run.session import Session
from mmrun.training.callback import Callback
from mmrun.training.grad_accumulation import first_rows
from mmrun.types import Batch

EXAMPLE_ROWS = 4  # on which shapes are traced
CALIBRATION_ROWS = 256  # at most, from which ranges of activations are read
TAYLOR_ROWS = 1024  # of the training rows, at most, from which importance is estimated


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
        examples: rows of a file that the user named, if there is one.
    """

    folder: RunFolder
    config: RunConfig
    fitted: Fitted
    model: Multimodal
    accelerator: Accelerator
    head: Head
    batch: Batch
    session: Session | None
    examples: Loader | None

    def check_calibration(self, quantization: Quantization) -> None:
        """Check that there are rows to read ranges of activations from, if they are needed.

        Raises:
            ConfigError: there are none.
        """
        if quantization.mode == "static" and self.examples is None and self.session is None:
            raise ConfigError(
                "--quantize int8: needs training rows, which are not there; add --rows FILE, or --quantize-mode dynamic"
            )

    def iterate_calibration_rows(self) -> Iterator[Batch]:
        """Yield the rows that ranges of activations are read from: those of the user's file, or training rows."""
        if self.examples is not None:
            yield from self.examples.ordered()
            return
        assert self.session is not None
        rows = self.session.data.rows["labelled"]
        if len(rows) > CALIBRATION_ROWS:
            rows = np.sort(np.random.default_rng(0).choice(rows, CALIBRATION_ROWS, replace=False))
        yield from self.session.loader(rows, self.config.trainer.eval_batch_size, self.session.columns).ordered()

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
        rows: a file of example rows, which are also those of calibration; None: the validation rows or, without the
            data, rows of noise.

    Raises:
        ConfigError: the run is not finished, or trains no head.
        DamagedError: its files are not what was written.
    """
    if folder.finished and folder.read_metrics()["primary_head"] is None:
        raise ConfigError(f"{folder.name}: its strategy trains no head, so nothing says whether it still works")
    if folder.is_int8:
        raise ConfigError(f"{folder.name}: computes in 8 bits, which comes last; compress the run it was made from")
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
    examples = None if rows is None else _read_examples(open_predictor(folder, callback), rows)
    return Source(folder, session.config, fitted, session.model, session.accelerator, head, batch, session, examples)


def _open_without_data(folder: RunFolder, callback: Callback, file: Path | None) -> Source:
    predictor = open_predictor(folder, callback)
    examples = _read_examples(predictor, file)
    batch = first_rows(next(examples.ordered()), EXAMPLE_ROWS)
    return Source(
        folder,
        predictor.config,
        predictor.fitted,
        predictor.model,
        predictor.accelerator,
        predictor.head,
        batch,
        None,
        None if file is None else examples,
    )


def _read_examples(predictor: Predictor, file: Path | None) -> Loader:
    """Decode rows of a file; without one, rows of noise."""
    rows = choose_rows(predictor, file, EXAMPLE_ROWS).rows
    columns = decode(predictor, rows, CALIBRATION_ROWS)
    numbers = np.arange(min(CALIBRATION_ROWS, len(rows.ids)))
    size = predictor.config.trainer.eval_batch_size
    return Loader(columns, {}, numbers, size, device=predictor.accelerator.device)
