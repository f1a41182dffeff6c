"""Features computed once: what a frozen encoder gives for a row is kept on disk, and read in place of its inputs."""

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor, nn

from mmrun.data.loader import Loader
from mmrun.data.store import Arrays, MappedColumn, PreprocessedColumn, keep, mapped
from mmrun.training.dry_run import without_trace
from mmrun.training.engine import Learner
from mmrun.training.reuse import exclusive
from mmrun.types import Batch, Encoder, Features

UNREAD: Any = object()  # stands for what nothing should read: whatever is done with it fails
CLOSE = {"rtol": 1e-4, "atol": 1e-5}  # the last bits differ with gradients switched off

Outputs = dict[str, Tensor]


def readable(
    learner: Learner, batch: Batch, heads: Iterable[str], accelerator: Accelerator
) -> dict[str, dict[str, Tensor]]:
    """Tell of which modalities features will do, and which of their parts: by modality, those parts of this batch.

    It is tried: features take the place of the inputs, and the answers have to stay. What reads the inputs itself, or
    hands others to the encoder, fails on features or answers otherwise. Tokens are no part where nothing touches them.
    `heads`: what validation looks at; the loss where there are none.
    """
    outputs_of = partial(_all_outputs, learner, heads, accelerator)
    encoders: Any = learner.model.encoder
    frozen = [modality for modality in batch.inputs if _is_frozen(encoders[modality])]
    wanted = outputs_of(batch) if frozen else {}
    found: dict[str, dict[str, Tensor]] = {}
    for modality in frozen:
        with accelerator.autocast():
            given = _parts(encoders[modality](batch.inputs[modality]))
        for names in dict.fromkeys([("pooled",), tuple(given)]):  # the fewest that will do
            tried = {name: part if name in names else UNREAD for name, part in given.items()}
            if _agree(wanted, outputs_of, batch._replace(inputs={**batch.inputs, **found, modality: tried})):
                found[modality] = {name: given[name] for name in names}
                break
    return found


@torch.no_grad()
def stand_in(model: Any, batch: Batch, names: Mapping[str, Iterable[str]], accelerator: Accelerator) -> Batch:
    """Give a batch in which features take the place of inputs; `names`: of their parts, by modality."""
    given = {}
    for modality, wanted in names.items():
        with accelerator.autocast():
            parts = _parts(model.encoder[modality](batch.inputs[modality]))
        given[modality] = {name: parts[name] for name in wanted}
    return batch._replace(inputs={**batch.inputs, **given})


def _all_outputs(learner: Learner, heads: Iterable[str], accelerator: Accelerator, batch: Batch) -> Outputs:
    """Give all that training and validation make of a batch, and leave no trace."""
    model: Any = learner.model
    found: Outputs = {}
    try:
        for training in (True, False):
            learner.train(training)
            with without_trace(learner, batch.index.device), accelerator.autocast(), torch.set_grad_enabled(training):
                if training or not heads:
                    found |= {f"loss/{training}/{name}": loss.detach() for name, loss in learner(batch).items()}
                for head in () if training else heads:
                    outputs = model(batch) if head == "" else model.unimodal(batch, head)
                    found |= {f"{head}/{task}": output for task, output in outputs.items()}
    finally:
        learner.train()
    return found


def _agree(wanted: Outputs, outputs_of: Callable[[Batch], Outputs], batch: Batch) -> bool:
    try:
        found = outputs_of(batch)
    except Exception:  # each way of reading inputs fails on features in its own way
        return False
    return found.keys() == wanted.keys() and all(
        torch.allclose(found[name].float(), value.float(), equal_nan=True, **CLOSE) for name, value in wanted.items()
    )


def _is_frozen(encoder: nn.Module) -> bool:
    """Tell whether features are a function of the row alone: nothing learns, no dropout, fixed batch statistics."""
    still = not any(module.training for module in encoder.modules())
    return still and not any(parameter.requires_grad for parameter in encoder.parameters())


def _parts(features: Features) -> dict[str, Tensor]:
    return {name: part.detach() for name, part in features._asdict().items() if part is not None}


# ------------------------------------------------------------------------------------------------------- the column


class FeatureColumn(MappedColumn):
    """The features of some rows of a data set, mapped from files."""

    def __init__(self, folder: Path, rows: np.ndarray, present: Tensor) -> None:
        self.meta: dict[str, Any] = json.loads((folder / "meta.json").read_text("utf-8"))
        parts = mapped(folder, self.meta["parts"])
        typed = {name: part.view(getattr(torch, self.meta["parts"][name])) for name, part in parts.items()}
        super().__init__(typed, present.numpy(), {}, folder.name)
        self.rows = torch.from_numpy(rows)  # ascending

    def gather(self, rows: Tensor, pin: bool = False) -> dict[str, Tensor]:
        """Copy the features of the given rows together."""
        return super().gather(torch.searchsorted(self.rows, rows), pin)


def size(rows: np.ndarray, parts: dict[str, Tensor]) -> int:
    """Give the bytes that the features of some rows take; `parts` are those of one batch."""
    return len(rows) * sum(part[0].numel() * part.element_size() for part in parts.values())


def open_features(
    encoder: Encoder,
    modality: str,
    column: PreprocessedColumn,
    rows: np.ndarray,
    parts: dict[str, Tensor],
    folder: Path,
    batch_size: int,
    accelerator: Accelerator,
    alive: Callable[[], None],
) -> FeatureColumn:
    """Compute the features of some rows into a folder, or find them there; of several processes, one computes.

    `parts` are those of one batch: names, shapes and types of what is kept. `batch_size` decides the last bits.
    `alive` is told now and then that this goes on.
    """
    with exclusive(folder):
        if not folder.is_dir():
            meta = {
                "about": f"{modality}, {len(rows)} rows, {', '.join(parts)}",
                "parts": {name: str(part.dtype).removeprefix("torch.") for name, part in parts.items()},
            }
            loader = Loader({modality: column}, {}, rows, batch_size, device=accelerator.device)
            blank = {name: _stored(part[0]) for name, part in parts.items()}
            chunks = _encoded(encoder, modality, loader, blank, accelerator, alive, meta)
            keep(folder, len(rows), blank, chunks, meta)
    return FeatureColumn(folder, rows, column.present)


def _encoded(
    encoder: Encoder,
    modality: str,
    loader: Loader,
    blank: Arrays,
    accelerator: Accelerator,
    alive: Callable[[], None],
    meta: dict[str, Any],
) -> Iterator[list[Arrays]]:
    """Encode all rows as training would, and note the seconds that took."""
    began = time.perf_counter()
    for batch in loader.ordered():
        with accelerator.autocast():
            parts = _parts(encoder(batch.inputs[modality]))
        arrays = {name: _stored(parts[name]) for name in blank}
        assert all(arrays[name].shape[1:] == row.shape for name, row in blank.items()), "as many tokens for each row"
        yield [arrays]
        alive()
    meta["seconds"] = time.perf_counter() - began


def _stored(part: Tensor) -> np.ndarray:
    """Give the bits as numpy knows them, which has no bfloat16."""
    array: np.ndarray = (part.view(torch.int16) if part.dtype == torch.bfloat16 else part).cpu().contiguous().numpy()
    return array
