import pytest
import torch

from mmrun.training.state import TrainState
from mmrun.training.throughput import ThroughputMeter, device_peak_flops, peak_flops


class Numbers:
    def batch(self, step):
        return step


def test_speed_is_that_since_the_last_time():
    state = TrainState(step=10, seconds=5.0)
    meter = ThroughputMeter(Numbers(), torch.device("cpu"), 1e9, state, batch_size=32, flops_per_step=1e8)
    assert meter.batch(10) == 10
    meter.data_wait = 0.5
    state.step, state.seconds = 14, 7.0
    speed = {}
    meter.on_evaluate_end(state, speed)
    assert speed.pop("speed/peak_memory") > 1e6
    assert speed == {"speed/samples_per_second": 64.0, "speed/data_wait": 0.25, "speed/mfu": pytest.approx(0.2)}
    state.step, state.seconds = 15, 8.0
    assert meter.metrics(state)["speed/samples_per_second"] == 32.0


@pytest.mark.parametrize(
    ("name", "precision", "tf32", "teraflops"),
    [
        ("NVIDIA H200", "bf16", True, 989),
        ("NVIDIA H100 PCIe", "bf16", True, 756),
        ("NVIDIA H100 80GB HBM3", "fp32", True, 495),
        ("NVIDIA A100-SXM4-40GB", "fp32", False, 19.5),
        ("NVIDIA H100 NVL", "bf16", True, 835),
        ("NVIDIA GH200 480GB", "bf16", True, 989),
        ("NVIDIA L40S", "fp16", True, 362),
        ("NVIDIA L40", "fp16", True, 181),
        ("NVIDIA L4", "fp16", True, 121),
        ("Tesla V100-SXM2-16GB", "fp32", True, 15.7),
    ],
)
def test_what_a_gpu_could_do(name, precision, tf32, teraflops):
    assert peak_flops(name, precision, tf32) == pytest.approx(teraflops * 1e12)


def test_where_the_peak_is_not_known_there_is_no_share_of_it():
    assert peak_flops("GeForce 256", "fp32", True) is None
    assert peak_flops("NVIDIA RTX A1000", "fp32", True) is None  # no A100
    assert device_peak_flops(torch.device("cpu"), "fp32", True) is None
    state = TrainState()
    meter = ThroughputMeter(Numbers(), torch.device("cpu"), None, state, 1, 1.0)
    state.step, state.seconds = 1, 1.0
    assert "speed/mfu" not in meter.metrics(state)
