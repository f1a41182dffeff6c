"""Where a step goes: a few steps of a stage, seen by torch's profiler."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch.autograd import DeviceType
from torch.profiler import profile, record_function, schedule

from mmrun.training.engine import Batches, Learner
from mmrun.types import Batch

WARM, SEEN = 4, 5  # steps before, and steps that are looked at
PARTS = ("data", "forward", "backward", "optimizer")


class Profile:
    """Hands batches on, and meanwhile looks at a few steps; then writes a trace and tells the shares of the time."""

    def __init__(
        self, batches: Batches, learner: Learner, trace: Path, tell: Callable[[dict[str, float]], None]
    ) -> None:
        self.batches, self.learner, self.trace, self.tell = batches, learner, trace, tell
        self.calls = 0
        self.profiler = profile(
            schedule=schedule(wait=WARM - 1, warmup=1, active=SEEN, repeat=1), on_trace_ready=self._ready
        )

    def batch(self, step: int) -> Batch:
        """Give the rows of one step; it is called once a step, at its beginning."""
        self.calls += 1
        if self.calls == 1:
            self._name_parts()
            self.profiler.start()
        elif self.calls <= WARM + SEEN + 1:
            self.profiler.step()
        with record_function("data"):
            return self.batches.batch(step)

    def _name_parts(self) -> None:
        """Let the passes of the learner appear under their names."""
        learner, objective = self.learner, self.learner.objective
        learner._compiled_call_impl = named("forward", learner._compiled_call_impl or learner._call_impl)
        objective.backward = named("backward", objective.backward)  # type: ignore[method-assign]

    def _ready(self, seen: profile) -> None:
        self.trace.parent.mkdir(parents=True, exist_ok=True)
        seen.export_chrome_trace(str(self.trace))
        self.tell(shares(seen.key_averages()))


def named(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
    """Give a call that the profiler sees under a name."""

    def seen(*args: Any, **kwargs: Any) -> Any:
        with record_function(name):
            return call(*args, **kwargs)

    return seen


def shares(averages: Any) -> dict[str, float]:
    """Give the milliseconds of a step, and which share of it is spent where; "device" is how long the GPU was busy."""
    host = {event.key: event.cpu_time_total for event in averages if event.device_type == DeviceType.CPU}
    whole = host["ProfilerStep*"]
    host["optimizer"] = sum(time for key, time in host.items() if key.startswith("Optimizer.step#"))
    found = {"step": whole / SEEN / 1000} | {part: host[part] / whole for part in PARTS}
    found["rest"] = 1 - sum(found[part] for part in PARTS)
    kernels = [event for event in averages if event.device_type == DeviceType.CUDA and not event.is_user_annotation]
    if kernels:
        found["device"] = sum(event.self_device_time_total for event in kernels) / whole
    return found


def told(found: dict[str, float]) -> str:
    """Say the shares in a line."""
    parts = ", ".join(f"{name} {share:.0%}" for name, share in found.items() if name != "step")
    return f"a step takes {found['step']:.3g} ms: {parts}"
