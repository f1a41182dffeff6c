"""Searches the steps that make a run small or fast enough. Candidates are judged on validation rows alone."""

import itertools
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from mmrun.deploy.compress.footprint import measure_latencies
from mmrun.deploy.compress.pipeline import Plan, finetune
from mmrun.deploy.compress.quality import Quality, measure_quality
from mmrun.deploy.compress.source import Source
from mmrun.deploy.compress.steps import Step, quantize
from mmrun.errors import ConfigError
from mmrun.models.compress.int8 import Quantization
from mmrun.models.multimodal import Multimodal
from mmrun.results.folder import RunFolder
from mmrun.run import build
from mmrun.run.session import Session
from mmrun.training import packed_weights
from mmrun.training.callback import Callback
from mmrun.training.cost import count_parameters
from mmrun.training.grad_accumulation import first_rows

FILTER_SHARES = (0.0, 0.25, 0.5, 0.75)
NUM_ROUNDS = 100  # of timed calls of each candidate


@dataclass(frozen=True)
class Wish:
    """What a compressed run must reach.

    Attributes:
        targets: the largest ratio to the original, by latency, file or parameters.
        max_drop: by how much the primary metric may become worse on validation rows.
        importance: l1 or taylor.
        finetune_epochs: of each candidate.
    """

    targets: Mapping[str, float]
    max_drop: float
    importance: str
    finetune_epochs: float


@dataclass(frozen=True)
class Candidate:
    """Steps that were tried.

    Attributes:
        plan: the steps.
        value: of the primary metric on validation rows.
        drop: by how much it is worse than that of the original.
        ratios: to the original, by latency, file and parameters.
    """

    plan: Plan
    value: float
    drop: float
    ratios: Mapping[str, float]

    def meets(self, wish: Wish) -> bool:
        """Return whether it is good and small enough.

        Args:
            wish: what is needed.
        """
        return self.drop <= wish.max_drop and all(self.ratios[name] <= limit for name, limit in wish.targets.items())


def search(source: Source, wish: Wish, callback: Callback) -> tuple[list[Candidate], Candidate | None]:
    """Try combinations of steps.

    Args:
        source: the run, with its data.
        wish: what is needed.
        callback: gets a message for each candidate.

    Returns:
        All candidates, and the one with the best metric among those that meet the wish; None if none does.

    Raises:
        ConfigError: the data of the run are not there.
    """
    if source.session is None:
        raise ConfigError("--target: needs the validation rows, which are not there; name the steps instead")
    original = measure_quality(source, source.session, source.model)
    candidates = []
    plans = list(_iterate_plans(wish))
    for number, plan in enumerate(plans, start=1):
        with suppress(ConfigError):  # a step changes nothing here
            material = source.compress(list(plan.steps), plan.importance)
            callback.on_message(f"{number} of {len(plans)}: {plan.name or 'as it is'}, and in 8 bits")
            if plan.finetune_epochs:
                _finetune(source, source.session, plan, material.model)
            if plan.steps:
                candidates.append(_judge(source, source.session, plan, material.model, original))
            quantized = replace(plan, quantization=Quantization(), max_drop=wish.max_drop)
            quantize(material, Quantization(), source.iterate_calibration_rows)
            candidates.append(_judge(source, source.session, quantized, material.model, original))
    good = [candidate for candidate in candidates if candidate.meets(wish)]
    return candidates, min(good, key=lambda candidate: candidate.drop, default=None)


def _iterate_plans(wish: Wish) -> Iterator[Plan]:
    """Yield combinations of steps, each method at most once, and none; only the size of the file needs weight sharing.

    Where there are no steps, there is nothing to fine-tune.
    """
    choices: list[list[Step | None]] = [
        [None, Step("drop_layers", 0.5)],
        [None, Step("prune_heads", 0.5)],
        [Step("prune_filters", share) if share else None for share in FILTER_SHARES],
        [None, Step("low_rank", 0.5)],
        [None, Step("cluster", 16)] if "file" in wish.targets else [None],
    ]
    for combination in itertools.product(*choices):
        steps = tuple(step for step in combination if step is not None)
        yield Plan(steps, wish.importance, wish.finetune_epochs) if steps else Plan(())


def _judge(source: Source, session: Session, plan: Plan, model: Multimodal, original: Quality) -> Candidate:
    quality = measure_quality(source, session, model)
    batch = first_rows(source.batch, 1)
    calls = {"original": lambda: source.predict(source.model, batch), "new": lambda: source.predict(model, batch)}
    latencies = measure_latencies(calls, source.accelerator.device, NUM_ROUNDS)
    ratios = {
        "latency": latencies["new"].p50 / latencies["original"].p50,
        "file": _count_stored(model) / _count_stored(source.model),
        "parameters": count_parameters(model.parameters()) / count_parameters(source.model.parameters()),
    }
    return Candidate(plan, quality.value, original.measure_drop(quality), ratios)


def _finetune(source: Source, session: Session, plan: Plan, model: Multimodal) -> None:
    """Fine-tune a candidate in a folder that is removed."""
    stages = build.resolve_stages(source.config, model)
    with tempfile.TemporaryDirectory() as scratch:
        folder = RunFolder(Path(scratch))
        candidate = replace(session, folder=folder, model=model, stages=stages)
        finetune(candidate, list(stages.values())[-1], plan)
        folder.log.close()


@torch.no_grad()
def _count_stored(model: Multimodal) -> int:
    """Return the bytes of the weights as a file holds them."""
    return sum(tensor.nbytes for tensor in packed_weights.pack(model.state_dict()).values())
