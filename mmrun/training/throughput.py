"""How fast a stage trains, and how near that is to what the device could do."""

import time

import torch

from mmrun.training import cost
from mmrun.training.engine import Batches, Progress
from mmrun.types import Batch

# Dense TFLOP/s by part of a GPU's name, as their makers give them: in fp32, in TF32, in bf16 or fp16. The first counts.
PEAKS: dict[str, tuple[float, float | None, float]] = {
    "B200": (75, 1100, 2250),
    "H200": (67, 495, 989),
    "H100 PCIe": (51, 378, 756),
    "H100": (67, 495, 989),
    "A100": (19.5, 156, 312),
    "L40S": (91.6, 183, 362),
    "L4": (30.3, 60, 121),
    "A10G": (31.2, 35, 70),
    "A10": (31.2, 62.5, 125),
    "RTX 4090": (82.6, 82.6, 165),
    "RTX 3090": (35.6, 35.6, 71),
    "V100": (15.7, None, 125),
    "T4": (8.1, None, 65),
}


def peak_flops(name: str, precision: str, tf32: bool) -> float | None:  # a second
    """Give what a GPU of this name could do at best; None where that is not known."""
    for part, (fp32, rounded, half) in PEAKS.items():
        if part in name:
            full = rounded if tf32 and rounded is not None else fp32
            return 1e12 * (full if precision == "fp32" else half)
    return None


def peak_of(device: torch.device, precision: str, tf32: bool) -> float | None:
    """Give what a device could do at best; None of a CPU."""
    return peak_flops(torch.cuda.get_device_name(device), precision, tf32) if device.type == "cuda" else None


class ThroughputMeter:
    """Hands batches on, and tells how fast they were trained on."""

    def __init__(self, batches: Batches, device: torch.device, peak: float | None, progress: Progress) -> None:
        self.batches, self.device, self.peak = batches, device, peak
        self.waited, self.step, self.seconds = 0.0, progress.step, progress.seconds

    def batch(self, step: int) -> Batch:
        """Give the rows of one step."""
        began = time.perf_counter()
        batch = self.batches.batch(step)
        self.waited += time.perf_counter() - began
        return batch

    def metrics(self, progress: Progress, rows: int, flops: float) -> dict[str, float]:
        """Give the speed since the last call. `rows` and `flops` are those of a step, `mfu` and the waits are shares.

        It is called when the device has done all that was asked of it, as at an evaluation.
        """
        steps, seconds = progress.step - self.step, progress.seconds - self.seconds
        found = {
            "speed/samples_per_second": steps * rows / seconds,
            "speed/data_wait": self.waited / seconds,
            "speed/peak_memory": float(cost.peak_memory(self.device)),
        }
        if self.peak is not None:
            found["speed/mfu"] = steps * flops / seconds / self.peak
        found |= _utilisation(self.device)
        self.waited, self.step, self.seconds = 0.0, progress.step, progress.seconds
        return found


def _utilisation(device: torch.device) -> dict[str, float]:
    """Give the share of the last second in which the GPU did something, where the driver's library tells."""
    if device.type != "cuda":
        return {}
    try:
        return {"speed/utilisation": torch.cuda.utilization(device) / 100}
    except (ModuleNotFoundError, RuntimeError):  # no pynvml, or a driver that does not speak to it
        return {}
