"""Where the time of a step goes: a few steps of a stage under torch's profiler."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from torch.autograd import DeviceType
from torch.profiler import profile, record_function, schedule

from mmrun.training.learner import Learner
from mmrun.training.state import Batches
from mmrun.types import Batch

WARMUP_STEPS, PROFILED_STEPS = 4, 5
P = ParamSpec("P")
R = TypeVar("R")

PHASES = ("data", "forward", "backward", "optimizer")


class Profiler:
    """Passes batches on and profiles a few steps; then writes a trace and reports the shares of the time.

    Args:
        batches: where the batches come from.
        learner: its forward and backward passes are named in the trace.
        trace: file to write, for chrome://tracing.
        on_profile: receives what `step_shares` returns.
    """

    def __init__(
        self, batches: Batches, learner: Learner, trace: Path, on_profile: Callable[[dict[str, float]], None]
    ) -> None:
        self.batches, self.learner, self.trace, self.on_profile = batches, learner, trace, on_profile
        self.calls = 0
        self.profiler = profile(
            schedule=schedule(wait=WARMUP_STEPS - 1, warmup=1, active=PROFILED_STEPS, repeat=1),
            on_trace_ready=self._on_trace_ready,
        )

    def batch(self, step: int) -> Batch:
        """Return the batch of one step; it is called once per step, at its beginning."""
        self.calls += 1
        if self.calls == 1:
            self._name_phases()
            self.profiler.start()
        elif self.calls <= WARMUP_STEPS + PROFILED_STEPS + 1:
            self.profiler.step()
        with record_function("data"):
            return self.batches.batch(step)

    def _name_phases(self) -> None:
        learner, objective = self.learner, self.learner.objective
        learner._compiled_call_impl = record_as("forward", learner._compiled_call_impl or learner._call_impl)
        objective.backward = record_as("backward", objective.backward)  # type: ignore[method-assign]

    def _on_trace_ready(self, profiled: profile) -> None:
        self.trace.parent.mkdir(parents=True, exist_ok=True)
        profiled.export_chrome_trace(str(self.trace))
        self.on_profile(step_shares(profiled.key_averages()))


def record_as(name: str, function: Callable[P, R]) -> Callable[P, R]:
    """Return a function that the profiler records under a name.

    Args:
        name: in the trace.
        function: to call.
    """

    def recorded(*args: P.args, **kwargs: P.kwargs) -> R:
        with record_function(name):
            return function(*args, **kwargs)

    return recorded


def step_shares(averages: Any) -> dict[str, float]:
    """Return the milliseconds of a step, and the share of it that each phase takes.

    Args:
        averages: `key_averages()` of the profiler.

    Returns:
        `step` in milliseconds, then shares by phase and `rest`; `device`, on a GPU, is how long it was busy.
    """
    host = {event.key: event.cpu_time_total for event in averages if event.device_type == DeviceType.CPU}
    whole = host["ProfilerStep*"]
    host["optimizer"] = sum(time for key, time in host.items() if key.startswith("Optimizer.step#"))
    shares = {"step": whole / PROFILED_STEPS / 1000}
    for phase in PHASES:
        shares[phase] = host[phase] / whole
    shares["rest"] = 1 - sum(shares[phase] for phase in PHASES)
    kernels = [event for event in averages if event.device_type == DeviceType.CUDA and not event.is_user_annotation]
    if kernels:
        shares["device"] = sum(event.self_device_time_total for event in kernels) / whole
    return shares


def summarize(shares: dict[str, float]) -> str:
    """Return the shares as one line.

    Args:
        shares: that `step_shares` returned.
    """
    parts = ", ".join(f"{name} {share:.0%}" for name, share in shares.items() if name != "step")
    return f"a step takes {shares['step']:.3g} ms: {parts}"
