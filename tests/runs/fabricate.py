"""Run folders with figures made up, so that every answer can be written down beforehand."""

from pathlib import Path
from typing import Any

from mmrun.runs.folder import RunFolder, where


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


def metrics(config: dict[str, Any], name: str, accuracy: float, seconds: float = 10.0) -> dict[str, Any]:
    """What metrics.json holds, less its schema's number."""
    stage = {
        "objective": "Task",
        "epochs": 10.0,
        "steps": 230,
        "samples": 14_370,
        "seconds": seconds,
        "flops": 1.5e12,
        "peak_memory": 512 * 1024**2,
        "learned_parameters": 25_300,
        "total_parameters": 25_300,
        "reused": False,
    }
    total = {key: value for key, value in stage.items() if key not in ("objective", "reused")}
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
        "headline": "fused",
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
    folder.finish(metrics(folder.config(), folder.name, accuracy))
    return folder


def started(outputs: Path, strategy: str = "scratch", seed: int = 0, **changes: Any) -> RunFolder:
    """A run that is under way."""
    resolved = config(strategy, seed, outputs=str(outputs), **changes)
    folder = RunFolder(where(resolved))
    folder.create(resolved, [f"strategy={strategy}", f"seed={seed}"], {"python": "3.11"})
    return folder
