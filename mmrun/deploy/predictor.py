"""A finished run, opened without its training data: it predicts and embeds new rows."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor

from mmrun.compose import restore
from mmrun.config import RunConfig
from mmrun.data import limits
from mmrun.data.loader import Loader
from mmrun.data.store import MappedColumn, PreprocessedColumn, decode_rows
from mmrun.data.table import Column
from mmrun.data_types import Arrays
from mmrun.deploy.rows import Rows as Rows
from mmrun.errors import ConfigError, DamagedError, DataError, MmrunError
from mmrun.head import Head
from mmrun.hub import summarize_error
from mmrun.models.multimodal import Multimodal
from mmrun.results.files import explain_mend
from mmrun.results.folder import RunFolder
from mmrun.results.schema import FittedModality, FittedRecord
from mmrun.run import build
from mmrun.run.accelerator import build_accelerator, place_model
from mmrun.run.batch_size_search import recorded_batch_size
from mmrun.run.data import Fitted
from mmrun.run.fitted import record_fitted, restore_fitted
from mmrun.run.opening import reopen
from mmrun.run.stage_checkpoints import load_weights
from mmrun.training.callback import Callback
from mmrun.types import Batch, Preprocessor, Task

T = TypeVar("T")

DTYPES = ("bool", "uint8", "int16", "int32", "int64", "float16", "float32", "float64")  # of decoded rows
BLOCK_ROWS = 512  # decoded at a time, about


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
        folder: of the run.
        config: of the run.
        fitted: its preprocessors and tasks.
        record: how modalities are read, and of which kind the targets are.
        model: with its final weights, in eval mode.
        accelerator: device and precision.
        head: that represents the run.
    """

    folder: RunFolder
    config: RunConfig
    fitted: Fitted
    record: FittedRecord
    model: Multimodal
    accelerator: Accelerator
    head: Head

    @property
    def name(self) -> str:
        """Of the run."""
        return self.folder.name

    @property
    def modalities(self) -> dict[str, FittedModality]:
        """How each modality is read, by name."""
        return self.record["modalities"]

    @property
    def formats(self) -> dict[str, dict[str, Any]]:
        """How numbers and dates are written, by column; only of columns that are not plain."""
        return self.record["formats"]

    @property
    def preprocessors(self) -> dict[str, Preprocessor]:
        """Fitted to the training rows, by modality."""
        return self.fitted.preprocessors

    @property
    def dataset(self) -> dict[str, Any]:
        """Of the config."""
        return self.config.dataset

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
        for numbers in self.split_blocks(len(rows.ids)):
            yield self._predict_block(rows, numbers, on_error)

    def split_blocks(self, num_rows: int) -> Iterator[np.ndarray]:
        """Yield the numbers of the rows that are decoded at a time: whole batches of the run's evaluation.

        Args:
            num_rows: of all rows.
        """
        size = self.config.trainer.eval_batch_size
        block_rows = max(1, BLOCK_ROWS // size) * size
        for start in range(0, num_rows, block_rows):
            yield np.arange(start, min(start + block_rows, num_rows))

    def _predict_block(self, rows: Rows, numbers: np.ndarray, on_error: str) -> Block:
        columns, good, bad = self.decode_valid(rows, numbers, on_error)
        scores, embeddings = self.compute(columns, good)
        return Block(numbers[good], scores, embeddings, bad, len(numbers))

    def decode_valid(
        self, rows: Rows, numbers: np.ndarray, on_error: str = "raise"
    ) -> tuple[dict[str, MappedColumn], np.ndarray, list[str]]:
        """Decode some rows, and find those that cannot be decoded.

        Args:
            rows: of which some are decoded.
            numbers: of the rows [n].
            on_error: raise | skip: what happens to a row that cannot be decoded.

        Returns:
            A column of n rows by modality, the places in it of the good rows, and "place: reason" of each bad one.

        Raises:
            DataError: a row cannot be decoded, and `on_error` is raise.
        """
        columns = self.decode(rows, numbers)
        bad: list[str] = []
        is_bad = np.zeros(len(numbers), dtype=bool)
        for column in columns.values():
            bad += column.bad
            is_bad[column.bad_rows] = True
        if bad and on_error == "raise":
            raise DataError(f"{bad[0]}; replace it, or leave such rows out with --on-error skip")
        return columns, np.flatnonzero(~is_bad), bad

    def decode(self, rows: Rows, numbers: np.ndarray) -> dict[str, MappedColumn]:
        """Decode some rows.

        Args:
            rows: of which some are decoded; a modality that they lack is missing in all.
            numbers: of the rows [n].

        Returns:
            A column of n rows by modality. Rows that cannot be decoded are in its `bad_rows`.
        """
        columns = {}
        with _naming_damage(self.folder.fitted_file):
            for modality in self.modalities:
                columns[modality] = self._decode_column(modality, rows.columns.get(modality), numbers)
        return columns

    def _decode_column(self, modality: str, column: Column | None, numbers: np.ndarray) -> MappedColumn:
        spec = self.modalities[modality]
        blank: Arrays = {}
        for name, part in spec["parts"].items():
            blank[name] = np.zeros(part["shape"], dtype=part["dtype"])
        if column is None:
            return decode_rows(Column(spec["kind"], [None] * len(numbers)), self.fitted.preprocessors[modality], blank)
        locations = None if column.locations is None else _take(column.locations, numbers)
        block = Column(column.kind, _take(column.values, numbers), locations)
        return decode_rows(block, self.fitted.preprocessors[modality], blank)

    def compute(
        self, columns: Mapping[str, PreprocessedColumn], rows: np.ndarray
    ) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """Predict decoded rows.

        Args:
            columns: by modality.
            rows: numbers of the rows in them [n].

        Returns:
            Scores by task [n, C], and embeddings [n, D].
        """
        batch_size, device = self.config.trainer.eval_batch_size, self.accelerator.device
        loader = Loader(columns, {}, rows, batch_size, device=device, cropped=self.model.croppable)
        scores: dict[str, list[Tensor]] = {name: [] for name in self.tasks}
        embeddings = [torch.zeros(0, self.embedding_dim)]
        with torch.no_grad(), self.accelerator.autocast():
            for batch in loader.ordered():
                embedding = self.embed(batch)
                embeddings.append(embedding.float().cpu())
                for name, output in self.apply_head(embedding).items():
                    scores[name].append(self.tasks[name].scores(output).cpu())
        empty = {name: torch.zeros(0, task.num_outputs) for name, task in self.tasks.items()}
        stacked = {name: torch.cat([empty[name], *parts]).numpy() for name, parts in scores.items()}
        return stacked, torch.cat(embeddings).numpy()

    @property
    def embedding_dim(self) -> int:
        """Width of the embeddings."""
        modality = self.head.modality
        part = self.model.fusion if modality is None else self.model.encoder[modality]
        return cast(int, part.dim)

    def embed(self, batch: Batch) -> Tensor:
        """Return the fused vectors, or those of the encoder where the run's head is a probe.

        Args:
            batch: inputs of all modalities, and which rows have which.

        Returns:
            [B, D].
        """
        modality = self.head.modality
        if modality is None:
            return self.model.fuse(batch)
        return self.model.encode_modality(modality, batch.inputs[modality]).pooled

    def apply_head(self, embedding: Tensor) -> dict[str, Tensor]:
        """Return the outputs of the run's head by task, [B, C].

        Args:
            embedding: what `embed` returned, [B, D].
        """
        modality = self.head.modality
        return self.model.forward_head(embedding) if modality is None else self.model.forward_probe(modality, embedding)


def _take(values: Sequence[T], rows: np.ndarray) -> Sequence[T]:
    """Return some values, packed if they were."""
    take: Callable[[np.ndarray], Sequence[T]] | None = getattr(values, "take", None)
    return [values[row] for row in rows.tolist()] if take is None else take(rows)


def open_predictor(folder: RunFolder, callback: Callback, on_cpu: bool = False) -> Predictor:
    """Open a finished run to predict with it; its training data is not needed.

    A run of version 0.2.0 or earlier did not record what was fitted to the training rows, so its data is opened.

    Args:
        folder: of the run.
        callback: gets messages about the data of such a run.
        on_cpu: compute on the CPU in fp32, whatever the run was trained on.

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
    if on_cpu:
        config.trainer.device, config.trainer.precision = "cpu", "fp32"
    record = folder.read_fitted() if folder.fitted_file.exists() else _refit(folder, callback)
    for file in sorted(folder.hub.rglob("*.json")):
        folder.verify(file)
    with _naming_damage(folder.fitted_file):
        _check_parts(record)
        fitted = restore_fitted(config, record)
        model = build.build_blank_model(config, fitted, folder)
    stages = build.resolve_stages(config, model)
    accelerator = build_accelerator(config)
    placement = place_model(model, config, accelerator)
    load_weights(folder, list(stages.values())[-1], model, placement)
    model.eval()
    return Predictor(folder, config, fitted, record, model, accelerator, Head.parse(head))


@contextmanager
def _naming_damage(file: Path) -> Iterator[None]:
    """Report that a file does not hold what was written: its values fit their types, but not the run.

    It may come from someone else, and the libraries that read it raise errors of any class.
    """
    try:
        yield
    except MmrunError:
        raise
    except Exception as error:
        reason = f"{type(error).__name__}: {summarize_error(error)}"
        raise DamagedError(f"{file}: damaged, it does not fit the run ({reason}); {explain_mend(file)}") from None


def _check_parts(record: FittedRecord) -> None:
    """Raise a ValueError if a row would take more memory than any row that can be decoded."""
    for modality, spec in record["modalities"].items():
        for name, part in spec["parts"].items():
            if part["dtype"] not in DTYPES or any(size < 0 for size in part["shape"]):
                raise ValueError(f"{modality}.{name} is no array")
            if math.prod(part["shape"]) > limits.MAX_VALUES:
                raise ValueError(f"{modality}.{name} has more than {limits.MAX_VALUES:,} values")


def _refit(folder: RunFolder, callback: Callback) -> FittedRecord:
    """Fit the preprocessors and tasks to the training rows again."""
    return record_fitted(reopen(folder, callback))
