"""A finished run, opened without its training data: it predicts and embeds new rows."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar, cast

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor

from mmrun.compose import restore
from mmrun.config import RunConfig
from mmrun.data.array_files import Arrays
from mmrun.data.loader import Loader
from mmrun.data.store import PreprocessedColumn, decode_rows
from mmrun.data.table import Column
from mmrun.errors import ConfigError, DataError
from mmrun.head import Head
from mmrun.models.multimodal import Multimodal
from mmrun.results.folder import RunFolder
from mmrun.results.schema import FittedModality, FittedRecord
from mmrun.run import build
from mmrun.run.batch_size_search import recorded_batch_size
from mmrun.run.data import Fitted
from mmrun.run.fitted import record_fitted, restore_fitted
from mmrun.run.pipeline import build_accelerator, place_model, reopen
from mmrun.run.stage_checkpoints import load_weights
from mmrun.training.callback import Callback
from mmrun.types import Batch, Task

T = TypeVar("T")

BLOCK_ROWS = 512  # decoded at a time, about


@dataclass(frozen=True)
class Rows:
    """New rows, before they are decoded.

    Attributes:
        ids: names of the rows [N].
        columns: raw values of the modalities that the rows have.
    """

    ids: Sequence[str]
    columns: Mapping[str, Column]


@dataclass(frozen=True)
class Block:
    """Outputs for some consecutive rows.

    Attributes:
        rows: their numbers [n], without those that could not be decoded.
        scores: by task, [n, C]: probabilities, or numbers in the unit of the target.
        embeddings: fused vectors [n, D]; those of the encoder where the run's head is a probe.
        bad: "place: reason" of each row that could not be decoded.
        num_read: rows with these.
    """

    rows: np.ndarray
    scores: dict[str, np.ndarray]
    embeddings: np.ndarray
    bad: list[str]
    num_read: int


@dataclass(frozen=True)
class Predictor:
    """A finished run that predicts new rows.

    Attributes:
        name: of the run.
        config: of the run.
        fitted: its preprocessors and tasks.
        record: how modalities are read, and of which kind the targets are.
        model: with its final weights, in eval mode.
        accelerator: device and precision.
        head: that represents the run.
    """

    name: str
    config: RunConfig
    fitted: Fitted
    record: FittedRecord
    model: Multimodal
    accelerator: Accelerator
    head: Head

    @property
    def modalities(self) -> dict[str, FittedModality]:
        """How each modality is read, by name."""
        return self.record["modalities"]

    @property
    def tasks(self) -> dict[str, Task]:
        """What is predicted, by name."""
        return self.fitted.tasks

    def predict(self, rows: Rows, on_error: str = "raise") -> Iterator[Block]:
        """Predict rows in their order, a block at a time.

        The batches are those of the run's own evaluation, so the same rows get the same scores, bit for bit.

        Args:
            rows: to predict; a modality that they lack counts as missing.
            on_error: raise | skip: what happens to a row that cannot be decoded.

        Raises:
            DataError: a row cannot be decoded, and `on_error` is raise.
        """
        size = self.config.trainer.eval_batch_size
        block_rows = max(1, BLOCK_ROWS // size) * size
        for start in range(0, len(rows.ids), block_rows):
            numbers = np.arange(start, min(start + block_rows, len(rows.ids)))
            yield self._predict_block(rows, numbers, on_error)

    def _predict_block(self, rows: Rows, numbers: np.ndarray, on_error: str) -> Block:
        columns = {
            modality: self._decode(modality, rows.columns.get(modality), numbers) for modality in self.modalities
        }
        bad: list[str] = []
        is_bad = np.zeros(len(numbers), dtype=bool)
        for column in columns.values():
            bad += column.bad
            is_bad[column.bad_rows] = True
        if bad and on_error == "raise":
            raise DataError(f"{bad[0]}; replace it, or leave such rows out with --on-error skip")
        good = np.flatnonzero(~is_bad)
        scores, embeddings = self._compute(columns, good)
        return Block(numbers[good], scores, embeddings, bad, len(numbers))

    def _decode(self, modality: str, column: Column | None, numbers: np.ndarray) -> PreprocessedColumn:
        spec = self.modalities[modality]
        blank: Arrays = {}
        for name, part in spec["parts"].items():
            blank[name] = np.zeros(part["shape"], dtype=part["dtype"])
        if column is None:
            return decode_rows(Column(spec["kind"], [None] * len(numbers)), self.fitted.preprocessors[modality], blank)
        locations = None if column.locations is None else _take(column.locations, numbers)
        block = Column(column.kind, _take(column.values, numbers), locations)
        return decode_rows(block, self.fitted.preprocessors[modality], blank)

    def _compute(
        self, columns: Mapping[str, PreprocessedColumn], rows: np.ndarray
    ) -> tuple[dict[str, np.ndarray], np.ndarray]:
        loader = Loader(columns, {}, rows, self.config.trainer.eval_batch_size, device=self.accelerator.device)
        scores: dict[str, list[Tensor]] = {name: [] for name in self.tasks}
        embeddings = [torch.zeros(0, self._embedding_dim)]
        with torch.no_grad(), self.accelerator.autocast():
            for batch in loader.ordered():
                embedding = self._embed(batch)
                embeddings.append(embedding.float().cpu())
                for name, output in self._apply_head(embedding).items():
                    scores[name].append(self.tasks[name].scores(output).cpu())
        empty = {name: torch.zeros(0, task.num_outputs) for name, task in self.tasks.items()}
        stacked = {name: torch.cat([empty[name], *parts]).numpy() for name, parts in scores.items()}
        return stacked, torch.cat(embeddings).numpy()

    @property
    def _embedding_dim(self) -> int:
        modality = self.head.modality
        part = self.model.fusion if modality is None else self.model.encoder[modality]
        return cast(int, part.dim)

    def _embed(self, batch: Batch) -> Tensor:  # [B, D]
        modality = self.head.modality
        if modality is None:
            return self.model.fuse(batch)
        return self.model.encode_modality(modality, batch.inputs[modality]).pooled

    def _apply_head(self, embedding: Tensor) -> dict[str, Tensor]:
        modality = self.head.modality
        return self.model.forward_head(embedding) if modality is None else self.model.forward_probe(modality, embedding)


def _take(values: Sequence[T], rows: np.ndarray) -> Sequence[T]:
    """Return some values, packed if they were."""
    take: Callable[[np.ndarray], Sequence[T]] | None = getattr(values, "take", None)
    return [values[row] for row in rows.tolist()] if take is None else take(rows)


def open_predictor(folder: RunFolder, callback: Callback) -> Predictor:
    """Open a finished run to predict with it; its training data is not needed.

    A run of version 0.2.0 or earlier did not record what was fitted to the training rows, so its data is opened.

    Args:
        folder: of the run.
        callback: gets messages about the data of such a run.

    Raises:
        ConfigError: the run is not finished, or its strategy trains no head.
        DamagedError: its files are not what was written.
    """
    if not folder.finished:
        raise ConfigError(f"{folder.path}: this run is not finished; mmrun resume {folder.path}")
    head = folder.read_metrics()["primary_head"]
    if head is None:
        raise ConfigError(f"{folder.name}: its strategy trains no head, so it cannot predict")
    config = recorded_batch_size(restore(folder.read_config()), folder)
    record = folder.read_fitted() if folder.fitted_file.exists() else _refit(folder, callback)
    for file in sorted(folder.hub.rglob("*.json")):
        folder.verify(file)
    fitted = restore_fitted(config, record)
    model = build.build_blank_model(config, fitted, folder)
    stages = build.resolve_stages(config, model)
    accelerator = build_accelerator(config)
    placement = place_model(model, config, accelerator)
    load_weights(folder, list(stages.values())[-1], model, placement)
    model.eval()
    return Predictor(folder.name, config, fitted, record, model, accelerator, Head.parse(head))


def _refit(folder: RunFolder, callback: Callback) -> FittedRecord:
    """Fit the preprocessors and tasks to the training rows again."""
    return record_fitted(reopen(folder, callback))
