"""Features computed once: the outputs of a frozen encoder are stored on disk and read in place of its inputs."""

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

from mmrun.data.array_files import map_arrays, remove_damaged, write_arrays
from mmrun.data.loader import Loader
from mmrun.data.store import MappedColumn, PreprocessedColumn
from mmrun.data_types import Arrays
from mmrun.head import Head
from mmrun.models.multimodal import Multimodal
from mmrun.processes import exclusive
from mmrun.training.dry_run import no_side_effects
from mmrun.training.learner import Learner
from mmrun.types import Batch, Encoder, Features

UNREADABLE: Any = object()  # stands for what nothing should read: every operation on it fails
TOLERANCE = {"rtol": 1e-4, "atol": 1e-5}  # the last bits differ when gradients are off

Outputs = dict[str, Tensor]


def replaceable_inputs(
    learner: Learner, batch: Batch, heads: Iterable[Head], accelerator: Accelerator
) -> dict[str, dict[str, Tensor]]:
    """Find the modalities whose input can be replaced by the features of their frozen encoder.

    This is found by trial: features replace the input, and the outputs must not change. An objective that reads the
    input itself, or feeds another one to the encoder, fails on features or returns other outputs.

    Args:
        learner: model and objective of the stage.
        batch: rows to try it on.
        heads: that validation reads; empty: it reads the loss.
        accelerator: precision.

    Returns:
        By modality, the parts of `Features` that are needed, for the rows of the batch. Tokens are left out where
        nothing reads them.
    """
    encoders = learner.model.encoder
    frozen = [modality for modality in batch.inputs if _is_frozen(encoders[modality])]
    compute_outputs = partial(_all_outputs, learner, list(heads), accelerator)
    expected = compute_outputs(batch) if frozen else {}
    replaced: dict[str, dict[str, Tensor]] = {}
    for modality in frozen:
        with accelerator.autocast():
            features = _parts(encoders[modality](batch.inputs[modality]))
        for names in dict.fromkeys([("pooled",), tuple(features)]):  # the fewest that suffice
            candidate = {name: part if name in names else UNREADABLE for name, part in features.items()}
            inputs = {**batch.inputs, **replaced, modality: candidate}
            if _outputs_agree(expected, compute_outputs, batch._replace(inputs=inputs)):
                replaced[modality] = {name: features[name] for name in names}
                break
    return replaced


@torch.no_grad()
def replace_inputs(
    model: Multimodal, batch: Batch, parts: Mapping[str, Iterable[str]], accelerator: Accelerator
) -> Batch:
    """Return a batch in which features replace inputs.

    Args:
        model: whose encoders compute them.
        batch: with inputs.
        parts: by modality, the parts of `Features` that are needed.
        accelerator: precision.
    """
    replaced = {}
    for modality, names in parts.items():
        with accelerator.autocast():
            features = _parts(model.encoder[modality](batch.inputs[modality]))
        replaced[modality] = {name: features[name] for name in names}
    return batch._replace(inputs={**batch.inputs, **replaced})


def _all_outputs(learner: Learner, heads: list[Head], accelerator: Accelerator, batch: Batch) -> Outputs:
    """Return everything that training and validation compute from a batch, without side effects."""
    model = learner.model
    outputs: Outputs = {}
    try:
        for training in (True, False):
            learner.train(training)
            with no_side_effects(learner, batch.index.device), accelerator.autocast(), torch.set_grad_enabled(training):
                if training or not heads:
                    for name, loss in learner(batch).items():
                        outputs[f"loss/{training}/{name}"] = loss.detach()
                for head in () if training else heads:
                    by_task = model(batch) if head.modality is None else model.forward_unimodal(batch, head.modality)
                    outputs |= {f"{head.name}/{task}": output for task, output in by_task.items()}
    finally:
        learner.train()
    return outputs


def _outputs_agree(expected: Outputs, compute_outputs: Callable[[Batch], Outputs], batch: Batch) -> bool:
    try:
        outputs = compute_outputs(batch)
    except Exception:  # each way of reading inputs fails on features in its own way
        return False
    if outputs.keys() != expected.keys():
        return False
    return all(
        torch.allclose(outputs[name].float(), value.float(), equal_nan=True, **TOLERANCE)
        for name, value in expected.items()
    )


def _is_frozen(encoder: nn.Module) -> bool:
    """Return whether features depend on the row alone: nothing trains, no dropout, fixed batch statistics."""
    in_eval_mode = not any(module.training for module in encoder.modules())
    return in_eval_mode and not any(parameter.requires_grad for parameter in encoder.parameters())


def _parts(features: Features) -> dict[str, Tensor]:
    return {name: part.detach() for name, part in features._asdict().items() if part is not None}


# ------------------------------------------------------------------------------------------------------- the column


class FeatureColumn(MappedColumn):
    """The features of some rows of a data set, mapped from files.

    Args:
        folder: where they are stored.
        rows: row numbers [N], ascending, in the order of the files.
        present: [rows of the data set] bool, whether a row has the modality.
    """

    def __init__(self, folder: Path, rows: np.ndarray, present: Tensor) -> None:
        self.meta: dict[str, Any] = json.loads((folder / "meta.json").read_text("utf-8"))
        parts = map_arrays(folder, self.meta["parts"])
        typed = {name: part.view(getattr(torch, self.meta["parts"][name])) for name, part in parts.items()}
        super().__init__(typed, present.numpy(), {}, folder.name)
        self.rows = torch.from_numpy(rows)

    def gather(self, rows: Tensor, pin: bool = False) -> dict[str, Tensor]:
        """Return the features of some rows, by part.

        Args:
            rows: row numbers [B], among those of the column.
            pin: return pinned memory, for asynchronous copies to a GPU.

        Returns:
            By part of `Features`, [B, ...].
        """
        return super().gather(torch.searchsorted(self.rows, rows), pin)


def stored_size(rows: np.ndarray, parts: dict[str, Tensor]) -> int:
    """Return the bytes that the features of some rows take.

    Args:
        rows: row numbers [N].
        parts: features of one batch, by part.
    """
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
    on_batch: Callable[[], None],
) -> FeatureColumn:
    """Open the features of some rows, and compute them first where they are not stored.

    Of several processes, one computes and the others wait.

    Args:
        encoder: frozen, in eval mode.
        modality: that it reads.
        column: its input.
        rows: row numbers [N], ascending.
        parts: features of one batch, by part: names, shapes and types of what is stored.
        folder: where they are stored.
        batch_size: rows encoded at once; it decides the last bits.
        accelerator: device and precision.
        on_batch: called after each batch.
    """
    with exclusive(folder):
        notes = remove_damaged(folder)
        if not folder.is_dir():
            meta = {
                "about": f"{modality}, {len(rows)} rows, {', '.join(parts)}",
                "parts": {name: str(part.dtype).removeprefix("torch.") for name, part in parts.items()},
            }
            blank = {name: _as_array(part[0]) for name, part in parts.items()}

            def encode(start: int) -> Iterator[Arrays]:
                cropped = [modality] if encoder.ignores_padding else []
                device = accelerator.device
                loader = Loader({modality: column}, {}, rows[start:], batch_size, device=device, cropped=cropped)
                return _encode(encoder, modality, loader, blank, accelerator, on_batch, meta)

            write_arrays(folder, len(rows), blank, encode, meta)
    features = FeatureColumn(folder, rows, column.present)
    features.notes = notes
    return features


def _encode(
    encoder: Encoder,
    modality: str,
    loader: Loader,
    blank: Arrays,
    accelerator: Accelerator,
    on_batch: Callable[[], None],
    meta: dict[str, Any],
) -> Iterator[Arrays]:
    """Encode rows as training would, and add to `meta` how many seconds that took."""
    before, began = meta.get("seconds", 0.0), time.perf_counter()
    for batch in loader.ordered():
        with accelerator.autocast():
            parts = _parts(encoder(batch.inputs[modality]))
        arrays = {name: _pad_tokens(_as_array(parts[name]), row) for name, row in blank.items()}
        meta["seconds"] = before + time.perf_counter() - began
        yield arrays
        on_batch()


def _pad_tokens(part: np.ndarray, row: np.ndarray) -> np.ndarray:  # [B, T, ...] -> [B, longest T, ...]
    """Pad the tokens of a batch that was cropped with zeros, which are masked, to as many as a row has."""
    padded = np.zeros((len(part), *row.shape), dtype=part.dtype)
    padded[(slice(None), *map(slice, part.shape[1:]))] = part
    return padded


def _as_array(part: Tensor) -> np.ndarray:
    """Return the bits as a numpy array; bfloat16, which numpy lacks, as int16."""
    array: np.ndarray = (part.view(torch.int16) if part.dtype == torch.bfloat16 else part).cpu().contiguous().numpy()
    return array
