"""What a stage cost, as a type. It needs no torch, so that reading results is quick."""

from typing import NotRequired, TypedDict


class StageCost(TypedDict):
    """What a stage cost, as `metrics.json` holds it. Seconds and FLOPs include computing features."""

    objective: str  # its class
    epochs: float  # every modality of every training row read once makes 1
    steps: int
    best_step: int
    samples: int
    seconds: float
    flops: float
    samples_per_second: float  # of training alone
    features: dict[str, object] | None  # what computing features cost, if that was done
    grad_accum_steps: int
    peak_memory: int  # bytes
    trainable_parameters: int
    total_parameters: int
    reused: bool  # loaded from an earlier run, whose costs these are
    synthetic_rows: NotRequired[int]  # of `samples`, those made from several rows; older runs did not record it
