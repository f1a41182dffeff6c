"""What is open while a run trains: handed from the flow of the run to its stages and to the evaluation."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from accelerate import Accelerator
from torch import Tensor

from mmrun.config import RunConfig
from mmrun.data.loader import Loader
from mmrun.data.store import PreprocessedColumn
from mmrun.models.multimodal import Multimodal
from mmrun.results.folder import RunFolder
from mmrun.run.build import Data
from mmrun.seeding import named_seed
from mmrun.training.placement import Placement
from mmrun.training.stages import Stage
from mmrun.types import Batch


class Pruned(Exception):  # noqa: N818 - it is no error
    """Raised by a watch to end a run that is not worth its budget; the run keeps its checkpoint and can be resumed."""


class Callback(Protocol):
    """Who looks on: a terminal, or nobody."""

    def run(self, name: str, stages: Sequence[str]) -> None:
        """Learn that a run begins, and its stages."""

    def stage(self, name: str) -> None:
        """Learn that a stage begins or goes on."""

    def step(self, spent: float, rows: int, losses: dict[str, Tensor]) -> None:
        """See a step: the part of the stage's allowance that is spent, its rows, the losses still on the device."""

    def figures(self, stage: str, figures: dict[str, float]) -> None:
        """See what an evaluation gave; may raise Pruned."""

    def note(self, text: str) -> None:
        """Hear something worth a line."""


class NullCallback(Callback):
    """Looks on and says nothing."""


@dataclass(frozen=True)
class Session:
    """One run, opened."""

    config: RunConfig
    folder: RunFolder
    watch: Callback
    accelerator: Accelerator
    data: Data
    columns: dict[str, PreprocessedColumn]
    model: Multimodal
    stages: dict[str, tuple[Stage, set[str]]]  # by name: the stage, the names of the model's parameters that learn
    placement: Placement

    @property
    def learned(self) -> set[str]:
        """Give the names of the parameters that learn in any stage."""
        return set().union(*(learning for _, learning in self.stages.values()))

    @property
    def heads(self) -> list[str]:
        """Give the outputs that the run trained: "" the fused one, a modality for its probe.

        A probe whose encoder went on learning without it says nothing any more, and is left out.
        """
        found: set[str] = set()
        for _, learning in self.stages.values():
            moved = {name.split(".")[1] for name in learning if name.startswith("encoder.")}
            found = (found - moved) | set(heads_that_learn(learning))
        return sorted(found)

    def node(self, part: str) -> Any:
        """Give the config that made a part of the model: of encoder.image its node, of a head or probe its tasks."""
        kind, _, name = part.partition(".")
        if kind == "fusion":
            return [self.config.fusion, {m: encoder.dim for m, encoder in self.model.encoder.items()}]
        if kind == "encoder":
            return self.config.encoder[name]
        return {task: self.data.table.targets[task].names for task in self.data.tasks}

    def noise(self, stage: str, since: str = "") -> int:
        """Give the seed of this process's noise: in a stage that several processes go on with, anew from a step on."""
        return named_seed(self.config.seed, f"stage/{stage}/{self.accelerator.process_index}{since}")

    @property
    def writes(self) -> bool:
        """Tell whether this process is the one that writes the run folder."""
        return self.accelerator.is_main_process

    def loader(self, rows: np.ndarray, batch_size: int, modalities: Iterable[str]) -> Loader:
        """Give batches of some rows and modalities on this process's device."""
        return Loader(
            {modality: self.columns[modality] for modality in modalities},
            {name: target.values for name, target in self.data.table.targets.items()},
            rows,
            batch_size,
            named_seed(self.config.seed, "order"),
            self.accelerator.device,
            hidden=self.data.rows["unlabelled"],
            rank=self.accelerator.process_index,
            world=self.accelerator.num_processes,
            group_by_length=self.config.trainer.group_by_length,
        )

    def counted(self, split: str, modalities: Iterable[str]) -> Iterator[tuple[Batch, int]]:
        """Give the rows of a split, in order, and of each batch how many rows count."""
        return self.loader(self.data.rows[split], self.config.trainer.eval_batch_size, modalities).counted()

    def ordered(self, split: str, modalities: Iterable[str]) -> Iterator[Batch]:
        """Give the rows of a split, in order."""
        return self.loader(self.data.rows[split], self.config.trainer.eval_batch_size, modalities).ordered()


def heads_that_learn(names: set[str]) -> list[str]:
    """Tell which outputs some parameters train: "" for the fused one, a modality for its probe."""
    fused = [""] if any(name.startswith("head.") for name in names) else []
    probes = {name.split(".")[1] for name in names if name.startswith("probe.")}
    return fused + sorted(probes)
