"""Searches the steps that make a run small or fast enough. Candidates are judged on validation rows alone.

Sizes and times cost little, and fine-tuning and evaluation much: of the combinations that are small and fast enough,
those that keep most parameters are judged.
"""

import itertools
import tempfile
from collections.abc import Iterator, Mapping, Sequence
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
NUM_ROUNDS = 50  # of timed calls of each candidate
MAX_JUDGED = 12  # combinations that are fine-tuned and evaluated

Ratios = Mapping[str, float]  # to the original, by file, parameters and, where it was measured, latency


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

    def is_reached(self, ratios: Ratios) -> bool:
        """Return whether a model is small and fast enough."""
        return all(ratios[name] <= limit for name, limit in self.targets.items() if name in ratios)


@dataclass(frozen=True)
class Sized:
    """A combination of steps whose result was measured, and not evaluated.

    Attributes:
        plan: the steps.
        ratios: to the original; without latency where that is no target, or another target is missed.
    """

    plan: Plan
    ratios: Ratios

    @property
    def promise(self) -> tuple[float, int]:
        """Sorts those first that keep most parameters, by the fewest steps."""
        return -self.ratios["parameters"], len(self.plan.steps) + (self.plan.quantization is not None)


@dataclass(frozen=True)
class Candidate:
    """A combination of steps that was judged.

    Attributes:
        plan: the steps.
        value: of the primary metric on validation rows.
        drop: by how much it is worse than that of the original.
        ratios: to the original.
    """

    plan: Plan
    value: float
    drop: float
    ratios: Ratios


@dataclass(frozen=True)
class Findings:
    """What a search found.

    Attributes:
        candidates: those that were judged.
        best: the plan with the best metric among those that meet the wish; None if none does.
        smallest: smallest ratio of any combination, judged or not, by target.
    """

    candidates: list[Candidate]
    best: Candidate | None
    smallest: Ratios


def search(source: Source, wish: Wish, callback: Callback) -> Findings:
    """Measure all combinations of steps, and judge the most promising of those that reach the targets.

    Raises:
        ConfigError: the data of the run are not there.
    """
    if source.session is None:
        raise ConfigError("--target: needs the validation rows, which are not there; name the steps instead")
    measured = _measure_all(source, wish, callback)
    small = sorted((sized for sized in measured if wish.is_reached(sized.ratios)), key=lambda sized: sized.promise)
    plans = list(dict.fromkeys(replace(sized.plan, quantization=None) for sized in small))
    callback.on_message(f"{len(small)} of {len(measured)} combinations of steps reach {describe_targets(wish.targets)}")
    if len(plans) > MAX_JUDGED:
        callback.on_message(f"the {MAX_JUDGED} that keep most parameters are judged, each with and without 8 bits")
    original = measure_quality(source, source.session, source.model)
    candidates = []
    for number, plan in enumerate(plans[:MAX_JUDGED], start=1):
        variants = [sized for sized in small if replace(sized.plan, quantization=None) == plan]
        judged = _judge(source, source.session, plan, variants, original)
        for candidate in judged:
            value = f"{original.metric} {candidate.value:.4f}, drop {candidate.drop:.4f}"
            callback.on_message(f"{number} of {min(len(plans), MAX_JUDGED)}: {candidate.plan.name}: {value}")
        candidates += judged
    acceptable = [entry for entry in candidates if entry.drop <= wish.max_drop and wish.is_reached(entry.ratios)]
    best = min(acceptable, key=lambda candidate: candidate.drop, default=None)
    return Findings(candidates, best, _find_smallest(measured, wish))


def describe_targets(targets: Ratios) -> str:
    """Return ratios by name as they are typed: latency=0.5 file=0.3."""
    return " ".join(f"{name}={ratio:.3g}" for name, ratio in targets.items())


def _find_smallest(measured: Sequence[Sized], wish: Wish) -> Ratios:
    smallest = {}
    for name in wish.targets:
        ratios = [sized.ratios[name] for sized in measured if name in sized.ratios]
        if ratios:
            smallest[name] = min(ratios)
    return smallest


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
        finetune_epochs = wish.finetune_epochs if steps else 0.0
        yield Plan(steps, wish.importance if steps else "l1", finetune_epochs, max_drop=wish.max_drop)


def _measure_all(source: Source, wish: Wish, callback: Callback) -> list[Sized]:
    """Measure each combination, with and without 8 bits, before any is fine-tuned, which changes no size."""
    quantization = Quantization() if "latency" in wish.targets else Quantization(mode="dynamic")  # sizes need no ranges
    plans, impossible = list(_iterate_plans(wish)), set[Step]()
    measured = []
    for number, plan in enumerate(plans, start=1):
        callback.on_progress(f"combinations of steps: {number} of {len(plans)}")
        if impossible & set(plan.steps):
            continue
        try:
            material = source.compress(list(plan.steps), plan.importance)
        except ConfigError:  # a step changes nothing here
            if len(plan.steps) == 1:
                impossible |= set(plan.steps)
            continue
        if plan.steps:
            measured.append(Sized(plan, _measure(source, wish, material.model)))
        if any(step.method == "cluster" for step in plan.steps):  # 4 bits a weight are fewer than 8
            continue
        with suppress(ConfigError):  # there are no layers for 8 bits
            quantize(material, quantization, source.iterate_calibration_rows)
            quantized = replace(plan, quantization=Quantization())
            measured.append(Sized(quantized, _measure(source, wish, material.model)))
    return measured


def _measure(source: Source, wish: Wish, model: Multimodal) -> Ratios:
    """Return the sizes of a model and, where these and that are asked for, its latency, as ratios to the original."""
    sizes = _count_sizes(source, model)
    if "latency" not in wish.targets or not wish.is_reached(sizes):
        return sizes
    batch = first_rows(source.batch, 1)
    calls = {"original": lambda: source.predict(source.model, batch), "new": lambda: source.predict(model, batch)}
    latencies = measure_latencies(calls, source.accelerator.device, NUM_ROUNDS)
    return {"latency": latencies["new"].p50 / latencies["original"].p50, **sizes}


def _count_sizes(source: Source, model: Multimodal) -> dict[str, float]:
    return {
        "file": _count_stored(model) / _count_stored(source.model),
        "parameters": count_parameters(model.parameters()) / count_parameters(source.model.parameters()),
    }


def _judge(
    source: Source, session: Session, plan: Plan, variants: Sequence[Sized], original: Quality
) -> list[Candidate]:
    """Fine-tune a combination of steps once, and evaluate it in fp32, in 8 bits, or both.

    Args:
        source: the run.
        session: its data.
        plan: the steps.
        variants: of the plan, which are small enough; one in fp32 comes first.
        original: metric of the run.
    """
    material = source.compress(list(plan.steps), plan.importance)
    if plan.finetune_epochs:
        _finetune(source, session, plan, material.model)
    candidates = []
    for variant in sorted(variants, key=lambda sized: sized.plan.quantization is not None):
        if variant.plan.quantization is not None:
            quantize(material, variant.plan.quantization, source.iterate_calibration_rows)
        quality = measure_quality(source, session, material.model)
        ratios = {**variant.ratios, **_count_sizes(source, material.model)}
        candidates.append(Candidate(variant.plan, quality.value, original.measure_drop(quality), ratios))
    return candidates


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
