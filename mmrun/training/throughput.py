"""Training speed, and how close it comes to the peak of the device."""

import re
import time

import torch

from mmrun.training import cost
from mmrun.training.callback import Callback
from mmrun.training.state import Batches, TrainState
from mmrun.types import Batch

# Dense TFLOP/s by words of a GPU's name, from data sheets: fp32, TF32, bf16 or fp16. The first match counts.
PEAKS: dict[str, tuple[float, float | None, float]] = {
    "B200": (75, 1100, 2250),
    "GH200": (67, 495, 989),
    "H200 NVL": (60, 418, 835),
    "H200": (67, 495, 989),
    "H100 NVL": (60, 418, 835),
    "H100 PCIe": (51, 378, 756),
    "H100": (67, 495, 989),
    "A100": (19.5, 156, 312),
    "L40S": (91.6, 183, 362),
    "L40": (90.5, 90.5, 181),
    "L4": (30.3, 60, 121),
    "A10G": (31.2, 35, 70),
    "A10": (31.2, 62.5, 125),
    "RTX 4090": (82.6, 82.6, 165),
    "RTX 3090": (35.6, 35.6, 71),
    "V100": (15.7, None, 125),
    "T4": (8.1, None, 65),
}


def peak_flops(name: str, precision: str, tf32: bool) -> float | None:
    """Return the peak FLOP/s of a GPU by its name, or None where it is not known.

    Args:
        name: as `torch.cuda.get_device_name` returns it.
        precision: fp32, bf16 or fp16.
        tf32: whether fp32 products may be rounded to TF32.
    """
    for words, (fp32, rounded, half) in PEAKS.items():
        if re.search(rf"\b{words}\b", name):
            full = rounded if tf32 and rounded is not None else fp32
            return 1e12 * (full if precision == "fp32" else half)
    return None


def device_peak_flops(device: torch.device, precision: str, tf32: bool) -> float | None:
    """Return the peak FLOP/s of a device; None for a CPU or an unknown GPU.

    Args:
        device: that the run uses.
        precision: fp32, bf16 or fp16.
        tf32: whether fp32 products may be rounded to TF32.
    """
    return peak_flops(torch.cuda.get_device_name(device), precision, tf32) if device.type == "cuda" else None


class ThroughputMeter(Callback):
    """Passes batches on, and adds the training speed to the metrics of each evaluation.

    Args:
        batches: where the batches come from.
        device: whose memory is measured.
        peak_flops: FLOP/s that the device can reach; None: no `speed/mfu`.
        state: of the stage, as training starts or resumes.
        batch_size: rows of a step.
        flops_per_step: forward and backward.
    """

    def __init__(
        self,
        batches: Batches,
        device: torch.device,
        peak_flops: float | None,
        state: TrainState,
        batch_size: int,
        flops_per_step: float,
    ) -> None:
        self.batches, self.device, self.peak_flops = batches, device, peak_flops
        self.batch_size, self.flops_per_step = batch_size, flops_per_step
        self.data_wait, self.step, self.seconds = 0.0, state.step, state.seconds

    def batch(self, step: int) -> Batch:
        """Return the batch of one step, and measure how long it was waited for."""
        began = time.perf_counter()
        batch = self.batches.batch(step)
        self.data_wait += time.perf_counter() - began
        return batch

    def on_evaluate_end(self, state: TrainState, metrics: dict[str, float]) -> None:
        """Add the speed since the last evaluation; the device has then done all its steps."""
        metrics |= self.metrics(state)

    def metrics(self, state: TrainState) -> dict[str, float]:
        """Return the training speed since the last call.

        Args:
            state: after at least one more step.

        Returns:
            `speed/samples_per_second`; `speed/data_wait`, the share of the time spent waiting for batches;
            `speed/peak_memory` in bytes; on a known GPU `speed/mfu`, the share of its peak FLOP/s, and
            `speed/utilisation`.
        """
        steps, seconds = state.step - self.step, state.seconds - self.seconds
        speed = {
            "speed/samples_per_second": steps * self.batch_size / seconds,
            "speed/data_wait": self.data_wait / seconds,
            "speed/peak_memory": float(cost.peak_memory(self.device)),
        }
        if self.peak_flops is not None:
            speed["speed/mfu"] = steps * self.flops_per_step / seconds / self.peak_flops
        speed |= _utilisation(self.device)
        self.data_wait, self.step, self.seconds = 0.0, state.step, state.seconds
        return speed


def _utilisation(device: torch.device) -> dict[str, float]:
    """Return the share of the last second in which the GPU was busy, where the driver's library reports it."""
    if device.type != "cuda":
        return {}
    try:
        return {"speed/utilisation": torch.cuda.utilization(device) / 100}
    except Exception:  # pynvml is not installed, or raises errors of its own: a part of a GPU (MIG) has no such figure
        return {}
