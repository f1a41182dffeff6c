"""From a finished run to a smaller one: compress, fine-tune, evaluate once, write."""

import shutil
import time
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch

from mmrun.compose import as_dict
from mmrun.config import BudgetConfig
from mmrun.deploy.compress.constraints import Constraints
from mmrun.deploy.compress.footprint import Measured, measure_inference
from mmrun.deploy.compress.quality import measure_quality
from mmrun.deploy.compress.source import Source
from mmrun.deploy.compress.steps import Material, Step, quantize
from mmrun.errors import ConfigError, RunError
from mmrun.models.compress.int8 import Quantization
from mmrun.models.compress.record import Structure
from mmrun.models.compress.structure import describe_structure
from mmrun.models.multimodal import Multimodal
from mmrun.results.environment import describe_environment
from mmrun.results.files import write_json
from mmrun.results.folder import RunFolder
from mmrun.results.folder_lock import lock_run
from mmrun.results.schema import CompressionRecord, CompressionStep, Inference, RunMetrics
from mmrun.run import build
from mmrun.run import metrics as run_metrics
from mmrun.run.interruption import handle_signals
from mmrun.run.session import Session
from mmrun.run.stage import train_stage
from mmrun.run.stage_checkpoints import load_weights
from mmrun.training import checkpoint, packed_weights
from mmrun.training.callback import Callback, CallbackList
from mmrun.training.grad_accumulation import first_rows
from mmrun.training.placement import Placement, Replicated
from mmrun.training.stage_cost import StageCost
from mmrun.training.stages import Stage

TOLERANCE = 1e-5  # of the outputs of the model that is rebuilt from the folder
SUMMED = ("epochs", "steps", "samples", "seconds", "flops")


class QualityError(RunError):
    """A model predicts worse in 8 bits than the user accepts."""


@dataclass(frozen=True)
class Plan:
    """How a run is compressed.

    Attributes:
        steps: in their order.
        importance: l1 or taylor.
        finetune_epochs: passes over the training rows afterwards; 0: none.
        quantization: how layers compute in 8 bits in the end; None: they do not.
        max_drop: by how much quantization may worsen the primary metric on validation rows.
    """

    steps: tuple[Step, ...]
    importance: str = "l1"
    finetune_epochs: float = 0.0
    quantization: Quantization | None = None
    max_drop: float = 0.01

    @property
    def name(self) -> str:
        """prune_filters=0.5+cluster=16+finetune=2+int8, as the choice `compress` of the new run."""
        taylor = ["taylor"] if self.importance == "taylor" else []
        finetuned = [f"finetune={self.finetune_epochs:g}"] if self.finetune_epochs else []
        return "+".join([*map(str, self.steps), *taylor, *finetuned, *self._quantized])

    @property
    def slug(self) -> str:
        """What the name of the new run ends in."""
        parts = [f"{step.method}{step.amount:g}" for step in self.steps]
        taylor = ["taylor"] if self.importance == "taylor" else []
        finetuned = [f"ft{self.finetune_epochs:g}"] if self.finetune_epochs else []
        return "-".join([*parts, *taylor, *finetuned, *self._quantized])

    @property
    def _quantized(self) -> list[str]:
        return [] if self.quantization is None else [self.quantization.slug]


def compress(source: Source, plan: Plan, path: Path, callback: Callback) -> RunFolder:
    """Write a compressed run; continue its fine-tuning if that was interrupted.

    Returns:
        The folder of the finished run.

    Raises:
        ConfigError: the folder holds a finished run, a step changes nothing, or fine-tuning needs data that are gone.
        RunError: another process writes there, fine-tuning failed, or the run predicts worse in 8 bits: then no folder
            is left.
    """
    folder = RunFolder(path)
    if folder.finished:
        raise ConfigError(f"{path}: exists; remove it with mmrun rm {path}, or choose another name with -o")
    if plan.finetune_epochs and source.session is None:
        raise ConfigError("--finetune-epochs: needs the training rows, which are not there; leave it out")
    if plan.quantization is not None:
        source.check_calibration(plan.quantization)
    material = source.compress(list(plan.steps), plan.importance)
    for note in material.notes:
        callback.on_message(note)
    structure = describe_structure(material.model, _build_original(source), material.drops)
    with lock_run(folder):
        _start(source, folder, plan, structure)
        try:
            _finish(source, folder, plan, material, callback)
        except QualityError:
            shutil.rmtree(folder.path)
            raise
        except BaseException as error:
            is_interrupted = isinstance(error, KeyboardInterrupt)
            folder.status.write("interrupted" if is_interrupted else "failed", message=str(error) or None)
            raise
    return folder


def _build_original(source: Source) -> Multimodal:
    """Build the model of the run's config, without its compression if it is compressed itself."""
    return build.build_uncompressed_model(source.config, source.fitted, source.folder)


def _start(source: Source, folder: RunFolder, plan: Plan, structure: Structure) -> None:
    """Write everything that the new run has before it is fine-tuned."""
    for file in (source.folder.fitted_file, source.folder.data_file):
        if file.exists():
            shutil.copyfile(file, folder.path / file.name)
    if source.folder.hub.exists():
        shutil.copytree(source.folder.hub, folder.hub, dirs_exist_ok=True)
    before = source.folder.read_compression()
    earlier = [] if before is None else before["steps"]
    record: CompressionRecord = {
        "run": source.folder.name,
        "steps": [*earlier, *(cast(CompressionStep, step._asdict()) for step in plan.steps)],
        "importance": plan.importance,
        "finetune_epochs": plan.finetune_epochs,
        "structure": structure,
    }
    if plan.quantization is not None:
        record["quantization"] = str(plan.quantization)
    unfinished = folder.read_compression()
    if unfinished is not None and {**unfinished, "structure": structure} != record:
        raise ConfigError(
            f"{folder.path}: holds an unfinished run of other steps; remove it with mmrun rm {folder.path}, or choose "
            "another name with -o"
        )
    write_json(folder.compression_file, record)
    environment = describe_environment(str(source.accelerator.device), torch.get_num_threads())
    environment["time"] = time.time()
    config = source.folder.read_config()
    folder.create({**config, "choices": _name_choices(source, plan)}, source.folder.read_overrides(), environment)


def _name_choices(source: Source, plan: Plan) -> dict[str, str]:
    earlier = source.config.choices.get("compress")
    return {**source.config.choices, "compress": plan.name if earlier is None else f"{earlier}+{plan.name}"}


def _finish(source: Source, folder: RunFolder, plan: Plan, material: Material, callback: Callback) -> None:
    model = material.model
    placement = Replicated(source.accelerator)
    stages = build.resolve_stages(source.config, model)
    last = list(stages.values())[-1]
    original = source.folder.read_metrics()
    costs: dict[str, StageCost] = dict(original["cost"]["stages"])
    session = None
    if source.session is not None:
        session = _open_session(source.session, folder, source, plan, model, stages, callback)
        if plan.finetune_epochs:
            with handle_signals(callback.on_message) as interruption:
                session = replace(session, interruption=interruption)
                costs[last.name] = _add_costs(costs[last.name], finetune(session, last, plan))
    trained = {name for stage in stages.values() for name in stage.trainable}
    sizes = {name: parameter.numel() for name, parameter in model.named_parameters()}
    if plan.quantization is not None:
        _quantize(source, material, plan, plan.quantization, callback)
        structure = describe_structure(model, _build_original(source), material.drops)
        record = cast(CompressionRecord, folder.read_compression())
        write_json(folder.compression_file, {**record, "structure": structure})
        if session is not None:
            session = replace(session, stages=build.resolve_stages(source.config, model))
    _save_weights(folder, last, model, costs[last.name])
    _check_rebuilt(source, folder, last, model, placement)
    evaluation: dict[str, Any] = {"metrics": {}, "per_class": {}, "primary_head": original["primary_head"]}
    if session is not None:
        session.model.eval()
        evaluation = run_metrics.evaluate(session)
    metrics = _summarize(source, folder, plan, session, costs, evaluation)
    if session is not None:  # what was trained, before it was quantized
        metrics["cost"]["trainable_parameters"] = sum(sizes[name] for name in trained)
    folder.finish({**metrics, "inference": measure(source, folder, last, model.eval())})
    callback.on_run_end(folder.path)


def _quantize(source: Source, material: Material, plan: Plan, quantization: Quantization, callback: Callback) -> None:
    """Quantize a model in place; raise a QualityError if its primary metric drops by more than the plan allows."""
    model, session = material.model.eval(), source.session
    before = None if session is None else measure_quality(source, session, model)
    unchanged = quantize(material, quantization, source.iterate_calibration_rows)
    if unchanged:
        callback.on_message(f"{', '.join(unchanged)} stays in fp32, as it has no convolution or linear layer")
    if session is not None and before is not None:
        after = measure_quality(source, session, model)
        drop = before.measure_drop(after)
        if not drop <= plan.max_drop:
            raise QualityError(
                f"val/{before.metric} drops by {drop:.4f} in 8 bits (from {before.value:.4f} to {after.value:.4f}), "
                f"more than --max-drop {plan.max_drop:g}; nothing is written"
            )


def _open_session(
    session: Session,
    folder: RunFolder,
    source: Source,
    plan: Plan,
    model: Multimodal,
    stages: dict[str, Stage],
    callback: Callback,
) -> Session:
    config = replace(session.config, choices=_name_choices(source, plan))
    return replace(session, folder=folder, config=config, model=model, stages=stages, callback=callback)


def finetune(session: Session, last: Stage, plan: Plan) -> StageCost:
    """Fine-tune a compressed model in place, as the last stage of the run trained it.

    What any stage of the run trained is trained; a stage on a frozen encoder would not mend it.

    Args:
        session: of the new run.
        last: stage of the run.
        plan: steps, which training must not undo, and epochs.

    Returns:
        What it cost.
    """
    keys = replace(last.config, reinitialize=False, reuse=False, unfreeze_top=None)
    stage = replace(last, config=keys, share=1.0, trainable=session.trainable)
    methods = {step.method: step.amount for step in plan.steps}
    keeps_zeros = bool({"prune", "prune_per_layer"} & set(methods))
    constraints = Constraints(session.model, int(methods.get("cluster", 0)), keeps_zeros)
    epochs = plan.finetune_epochs * stage.reads
    config = replace(session.config, budget=BudgetConfig(epochs=epochs))
    tuned = replace(session, config=config, callback=CallbackList([constraints, session.callback]))
    saved = session.folder.checkpoint_path(last.name, "last")
    if checkpoint.exists(saved) and checkpoint.load(saved)[0]["finished"]:  # of a process that was killed afterwards
        shutil.rmtree(session.folder.checkpoints)
    costs = train_stage(tuned, stage)
    constraints.project()
    return costs


def _add_costs(before: StageCost, added: StageCost) -> StageCost:
    """Return what a stage cost with its fine-tuning."""
    total: Any = {**added, "peak_memory": max(before["peak_memory"], added["peak_memory"])}
    for key in SUMMED:
        total[key] = before[key] + added[key]  # type: ignore[literal-required]
    total["synthetic_rows"] = before.get("synthetic_rows", 0) + added.get("synthetic_rows", 0)
    return cast(StageCost, total)


def _save_weights(folder: RunFolder, last: Stage, model: Multimodal, cost: StageCost) -> None:
    """Write the final weights, in as little space as they need without a loss."""
    weights = packed_weights.pack(model.state_dict())
    checkpoint.save(folder.checkpoint_path(last.name, "last"), {"model": weights}, {"finished": True, "cost": cost})
    if last.config.keep == "best":
        checkpoint.save(folder.checkpoint_path(last.name, "best"), {"model": weights}, {})


@torch.no_grad()
def _check_rebuilt(source: Source, folder: RunFolder, last: Stage, model: Multimodal, placement: Placement) -> None:
    """Raise an error if the model that the folder describes is not the one that was compressed."""
    rebuilt = build.build_blank_model(source.config, source.fitted, folder)
    placement.place_model(rebuilt)
    load_weights(folder, last, rebuilt, placement)
    expected = source.predict(model.eval(), source.batch)
    actual = source.predict(rebuilt.eval(), source.batch)
    for task, output in expected.items():
        if (output - actual[task]).abs().max() > TOLERANCE * output.abs().max().clamp(min=1.0):
            raise RunError(f"{folder.path}: the model that is read back predicts {task} differently; please report it")


def _summarize(
    source: Source,
    folder: RunFolder,
    plan: Plan,
    session: Session | None,
    costs: dict[str, StageCost],
    evaluation: dict[str, Any],
) -> dict[str, Any]:
    if session is not None:
        return run_metrics.summarize(session, costs, evaluation)
    original: RunMetrics = source.folder.read_metrics()
    choices = _name_choices(source, plan)
    config = {**as_dict(source.config), "choices": choices}
    copied = {key: value for key, value in original.items() if key not in ("schema", "files", "inference")}
    return {**copied, "run": folder.name, "choices": choices, "config": config, **evaluation}


def measure(source: Source, folder: RunFolder, last: Stage, model: Multimodal) -> Inference:
    """Measure the original and the compressed model in turns.

    Args:
        source: the run.
        folder: of the new run.
        last: stage of the new run.
        model: of the new run, in eval mode.
    """
    batch = first_rows(source.batch, 1)

    def predict(measured: Multimodal) -> object:
        with source.accelerator.autocast():
            return source.predict(measured, batch)

    original_last = list(build.resolve_stages(source.config, source.model).values())[-1]
    original = Measured(source.model, partial(predict, source.model), _find_weights(source.folder, original_last))
    compressed = Measured(model, partial(predict, model), _find_weights(folder, last))
    return measure_inference(original, compressed, source.accelerator.device)


def _find_weights(folder: RunFolder, last: Stage) -> Path:
    return folder.checkpoint_path(last.name, last.config.keep) / "model.safetensors"
