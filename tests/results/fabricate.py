"""Run folders with figures made up, so that every answer can be written down beforehand."""

from pathlib import Path
from typing import Any

import numpy as np

from mmrun.results.evaluations import OWN_CEILINGS
from mmrun.results.files import read_json, write_json
from mmrun.results.folder import RunFolder
from mmrun.results.identity import run_folder_path
from mmrun.results.predictions import write_predictions


def config(strategy: str = "scratch", seed: int = 0, **changes: Any) -> dict[str, Any]:
    """A resolved config; `changes` are dotted keys with "__" for the dot."""
    resolved: dict[str, Any] = {
        "dataset": {"_target_": "mmrun.data.sources.digits.digits", "labelled": 1.0},
        "encoder": {"image": {"_target_": "mmrun.models.encoders.cnn.CNN", "dim": 64}},
        "fusion": {"_target_": "mmrun.models.fusions.simple.Concat", "dim": 128},
        "strategy": {"stages": {"train": {"train": ["encoder", "fusion", "head"], "share": 1.0}}},
        "budget": {"epochs": 10.0, "steps": None},
        "trainer": {"precision": "fp32", "progress": True, "trackers": [], "save_every": 60.0},
        "seed": seed,
        "experiment": "default",
        "outputs": "outputs",
        "cache": "~/.cache/mmrun",
        "cache_limit": 50.0,
        "choices": {"dataset": "digits", "strategy": strategy, "fusion": "concat", "encoder.image": "cnn"},
    }
    if strategy != "scratch":
        pretrain = {"train": ["encoder.{modality}"], "share": 1.0}
        resolved["strategy"]["stages"] = {"pretrain": pretrain, **resolved["strategy"]["stages"]}
    for key, value in changes.items():
        *places, last = key.split("__")
        node = resolved
        for place in places:
            node = node[place]
        node[last] = value
    return resolved


def stage_cost(**changes: Any) -> dict[str, Any]:
    """What metrics.json holds of one stage."""
    stage: dict[str, Any] = {
        "objective": "Task",
        "epochs": 10.0,
        "steps": 230,
        "best_step": 230,
        "samples": 14_370,
        "samples_per_second": 1437.0,
        "features": None,
        "grad_accum_steps": 1,
        "seconds": 10.0,
        "flops": 1.5e12,
        "peak_memory": 512 * 1024**2,
        "trainable_parameters": 25_300,
        "total_parameters": 25_300,
        "reused": False,
    }
    return stage | changes


def metrics(config: dict[str, Any], name: str, accuracy: float, seconds: float = 10.0) -> dict[str, Any]:
    """What metrics.json holds, less its schema's number."""
    stage = stage_cost(seconds=seconds)
    own = ("objective", "reused", "best_step", "samples_per_second", "features", "grad_accum_steps")
    total = {key: value for key, value in stage.items() if key not in own}
    return {
        "metric_version": 1,
        "run": name,
        "seed": config["seed"],
        "choices": config["choices"],
        "config": config,
        "budget": {unit: amount for unit, amount in config["budget"].items() if amount is not None},
        "dataset": {
            "name": config["choices"]["dataset"],
            "fingerprint": f"f-{config['choices']['dataset']}",
            "split": "s0",
            "rows": {"train": 1437, "val": 180, "test": 180},
            "labelled": config["dataset"]["labelled"],
            "skipped": 0,
        },
        "primary_head": "fused",
        "metrics": {
            "val": {"loss": 0.5, "accuracy": accuracy},
            "test": {"loss": 1 - accuracy, "accuracy": accuracy, "accuracy/image": accuracy / 2},
        },
        "per_class": {"test": {"label": {"zero": {"precision": 1.0, "recall": 0.5, "f1": 2 / 3, "count": 18.0}}}},
        "cost": {**total, "stages": {"train": stage}},
    }


def finished(outputs: Path, accuracy: float, strategy: str = "scratch", seed: int = 0, **changes: Any) -> RunFolder:
    """A run that came to its end."""
    folder = started(outputs, strategy, seed, **changes)
    folder.finish(metrics(folder.read_config(), folder.name, accuracy))
    return folder


def started(outputs: Path, strategy: str = "scratch", seed: int = 0, **changes: Any) -> RunFolder:
    """A run that is under way."""
    resolved = config(strategy, seed, outputs=str(outputs), **changes)
    folder = RunFolder(run_folder_path(resolved))
    folder.create(resolved, [f"strategy={strategy}", f"seed={seed}"], {"python": "3.11"})
    return folder


def rewrite(run, **changes):
    """Change a finished run's metrics.json; keys are dotted with "__" for the dot."""
    metrics = read_json(run.metrics_file)
    for key, value in changes.items():
        *places, last = key.split("__")
        node = metrics
        for place in places:
            node = node[place]
        node[last] = value
    write_json(run.metrics_file, metrics)


def detail(run: RunFolder, device: str = "cuda", classes: tuple[str, ...] = ("cat", "dog")) -> RunFolder:
    """Give a finished run what else a report reads: a log, predictions, an evaluation, where it was made."""
    accuracy, rows = run.read_metrics()["metrics"]["test"]["accuracy"], 20
    for epochs, part in ((5.0, 0.5), (10.0, 1.0)):
        figures = {"train/loss": 1 - part, "val/accuracy": accuracy * part}
        figures |= {"gradient/image": 0.75, "gradient/text": 0.25, "conflict/image-text": 0.5 - part}
        run.log.append({"event": "evaluated", "stage": "train", "epochs": epochs, "seconds": epochs, **figures})
    run.log.close()
    target = np.arange(rows) % len(classes)
    correct = np.arange(rows) < round(accuracy * rows)
    scores = np.where(np.eye(len(classes))[np.where(correct, target, (target + 1) % len(classes))] > 0, 0.8, 0.2)
    write_predictions(run, "test", [f"row{row}" for row in range(rows)], {"label": target}, {"label": scores})
    metrics_json = read_json(run.metrics_file)
    metrics_json["per_class"] = {"test": {"label": {name: {"f1": 0.5} for name in classes}}}
    write_json(run.metrics_file, metrics_json)
    write_json(run.environment_file, {"python": "3.11", "device": device, "versions": {"torch": "2.15.0"}, "git": None})
    write_json(run.evaluation_file, evaluation(run.name, accuracy))
    return run


def evaluation(name: str, accuracy: float) -> dict[str, Any]:
    """As much of evaluation.json as a report reads, of a run with two modalities."""
    subsets = {("image",): accuracy - 0.1, ("text",): accuracy - 0.3, ("image", "text"): accuracy}
    fused = [accuracy, accuracy - 0.2]
    curve = {"fused": fused, "alone": fused, "relative": accuracy - 0.1, "effective": 0.05}
    curves = {"gaussian": curve, "occlusion": curve}
    noise = {"relative": accuracy - 0.1, "effective": 0.05, "curves": curves}
    probe = {"label": {"before": accuracy - 0.2, "after": accuracy - 0.1}}
    sites = {"north": {"rows": 14, "accuracy": accuracy + 0.1}, "": {"rows": 6, "accuracy": accuracy - 0.15}}
    listed = [{"present": list(subset), "metrics": {"accuracy": value}} for subset, value in subsets.items()]
    alone = {"image": accuracy - 0.1, "text": accuracy - 0.3}
    synergy = {"fused": accuracy, "alone": alone, "best": "image", "gap": 0.1, "flagged": False}
    synergy["ceilings"] = OWN_CEILINGS
    return {
        "schema": 2,
        "metric_version": 1,
        "run": name,
        "split": "test",
        "rows": 20,
        "modalities": ["image", "text"],
        "saw_missing": False,
        "primary_metrics": ["accuracy"],
        "metrics": {"accuracy": accuracy},
        "constant": {"accuracy": 0.5},
        "classes": {},
        "missing": {"absent": listed, "zeros": listed},
        "shapley": {"accuracy": {"absent": {"image": accuracy / 2, "text": accuracy / 4}}},
        "synergy": {"accuracy": synergy},
        "robustness": {"severities": [0.0, 0.8], "metrics": {"accuracy": {"image": noise, "text": noise}}},
        "drift": {"image": {"after_stage": "pretrain-image", "rows": 180, "cka": 0.5, "probe": probe}},
        "groups": {"label": {"column": "site", "primary_metric": "accuracy", "worst": "", "groups": sites}},
    }
