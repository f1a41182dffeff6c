"""What is open while a run trains: handed from the pipeline to its stages and to the evaluation."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
from accelerate import Accelerator

from mmrun.config import RunConfig
from mmrun.data.loader import Loader
from mmrun.data.row_digests import DataRecord
from mmrun.data.sampler import RowStream
from mmrun.data.store import PreprocessedColumn
from mmrun.head import Head, sort_heads
from mmrun.models.multimodal import Multimodal
from mmrun.results.folder import RunFolder
from mmrun.run.data import Data
from mmrun.run.interruption import Interruption
from mmrun.seeding import named_seed
from mmrun.training.callback import Callback
from mmrun.training.device import is_enabled
from mmrun.training.placement import Placement
from mmrun.training.stages import Stage
from mmrun.types import Batch


class Pruned(Exception):  # noqa: N818 - it is no error
    """Raised by a callback to end a run that is not worth its budget; its checkpoint stays, so it can be resumed."""


@dataclass(frozen=True)
class Session:
    """One run, opened.

    Attributes:
        config: of the run.
        folder: where it writes.
        callback: the terminal's and the user's callbacks.
        accelerator: devices, precision and processes.
        data: the data set; its raw columns are freed.
        columns: the decoded modalities.
        model: on the devices.
        stages: by name, in order.
        placement: how the model lies on the devices.
        interruption: the signal that asks the run to stop, if one has arrived.
        hub_models: names of the models of a hub that the model was built from; empty unless it was opened to train.
        record: digests of what the data set held when it was opened; None: it was not opened to train.
    """

    config: RunConfig
    folder: RunFolder
    callback: Callback
    accelerator: Accelerator
    data: Data
    columns: dict[str, PreprocessedColumn]
    model: Multimodal
    stages: dict[str, Stage]
    placement: Placement
    interruption: Interruption = field(default_factory=Interruption)
    hub_models: frozenset[str] = frozenset()
    record: DataRecord | None = None

    @property
    def trainable(self) -> frozenset[str]:
        """The names of the parameters that any stage trains."""
        return frozenset().union(*(stage.trainable for stage in self.stages.values()))

    @property
    def heads(self) -> list[Head]:
        """The heads that the run trained.

        A probe is left out where a later stage trained its encoder without it: its outputs then mean nothing.
        """
        valid: set[Head] = set()
        for stage in self.stages.values():
            valid = {head for head in valid if head.modality not in stage.trained_encoders} | set(stage.heads)
        return sort_heads(valid)

    def part_config(self, part: str) -> object:
        """Return what a part of the model was built from, as JSON values: encoder.image, fusion, head.label ...

        Args:
            part: encoder.image, fusion, head.label ...
        """
        kind, _, name = part.partition(".")
        if kind == "fusion":
            return [self.config.fusion, {m: encoder.dim for m, encoder in self.model.encoder.items()}]
        if kind == "encoder":
            return self.config.encoder[name]
        names = {task: self.data.table.targets[task].names for task in self.data.tasks}
        return names if self.config.strategy.head is None else [names, self.config.strategy.head]

    def noise_seed(self, stage: str, suffix: str = "") -> int:
        """Return the seed of this process's noise in a stage.

        Args:
            stage: its name.
            suffix: tells apart the streams of a stage that several processes resume.
        """
        return named_seed(self.config.seed, f"stage/{stage}/{self.accelerator.process_index}{suffix}")

    def report(self, stage: str, text: str) -> None:
        """Report a message about a stage.

        Args:
            stage: its name.
            text: one line.
        """
        self.callback.on_message(f"{stage}: {text}")

    @property
    def is_writer(self) -> bool:
        """Whether this process writes the run folder."""
        return bool(self.accelerator.is_main_process)

    def loader(
        self,
        rows: np.ndarray,
        batch_size: int,
        modalities: Iterable[str],
        with_targets: bool = True,
        stream: RowStream | None = None,
    ) -> Loader:
        """Return batches of some rows and modalities on this process's device.

        Args:
            rows: row numbers [N].
            batch_size: rows of a batch, over all processes.
            modalities: to read.
            with_targets: False for a stage that reads none.
            stream: order of the rows in training; None: one permutation per epoch.
        """
        targets = self.data.table.targets if with_targets else {}
        is_compiled = is_enabled(self.config.trainer.compile, self.accelerator.device)  # for each width anew
        return Loader(
            {modality: self.columns[modality] for modality in modalities},
            {name: target.values for name, target in targets.items()},
            rows,
            batch_size,
            named_seed(self.config.seed, "order"),
            self.accelerator.device,
            hidden=self.data.rows["unlabelled"],
            rank=self.accelerator.process_index,
            world=self.accelerator.num_processes,
            cropped=() if is_compiled else self.model.croppable,
            group_by_length=self.config.trainer.group_by_length,
            stream=stream,
        )

    def eval_loader(self, split: str, modalities: Iterable[str]) -> Loader:
        """Return the loader of a split.

        Args:
            split: train, val or test.
            modalities: to read.
        """
        return self.loader(self.data.rows[split], self.config.trainer.eval_batch_size, modalities)

    def ordered(self, split: str, modalities: Iterable[str]) -> Iterator[Batch]:
        """Yield the rows of a split, in order.

        Args:
            split: val or test.
            modalities: to read.
        """
        return self.eval_loader(split, modalities).ordered()
