"""The shares of a step's time."""

from types import SimpleNamespace

import pytest
from torch.autograd import DeviceType

from mmrun.training.profile import step_shares, summarize


def event(key, milliseconds):
    return SimpleNamespace(key=key, cpu_time_total=1000 * milliseconds, device_type=DeviceType.CPU)


def test_shares_are_of_the_whole_step():
    times = {"ProfilerStep*": 50, "data": 5, "forward": 20, "backward": 15, "Optimizer.step#AdamW.step": 5}
    shares = step_shares([event(key, milliseconds) for key, milliseconds in times.items()])
    assert shares == pytest.approx(
        {"step": 10, "data": 0.1, "forward": 0.4, "backward": 0.3, "optimizer": 0.1, "rest": 0.1}
    )
    assert summarize(shares) == "a step takes 10 ms: data 10%, forward 40%, backward 30%, optimizer 10%, rest 10%"
