import pytest
import torch
from torch import nn

from mmrun.training.device import channels_last, model_name, set_up


def test_convolutions_are_laid_out_by_pixel_and_give_the_same():
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Flatten(), nn.Linear(8 * 36, 2))
    x = torch.randn(2, 3, 8, 8)
    before, parameters = net(x), list(net.parameters())
    channels_last(net)
    assert net[0].weight.is_contiguous(memory_format=torch.channels_last)
    assert all(one is other for one, other in zip(net.parameters(), parameters, strict=True))
    torch.testing.assert_close(net(x), before)


def test_on_a_cpu_subnormal_numbers_alone_are_dealt_with():
    tiny = torch.tensor([2e-38])
    torch.set_flush_denormal(False)
    assert (tiny / 4).item() > 0
    set_up(torch.device("cpu"), deterministic=True, tf32=False)
    assert not torch.are_deterministic_algorithms_enabled()
    assert (tiny / 4).item() == 0


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_gives_the_same_bits_or_is_quick():
    for deterministic in (False, True):
        set_up(torch.device("cuda"), deterministic, tf32=not deterministic)
        assert torch.are_deterministic_algorithms_enabled() is deterministic
        assert torch.backends.cudnn.benchmark is not deterministic
        assert torch.backends.cuda.matmul.allow_tf32 is not deterministic


def test_all_cpus_are_one_model():
    assert model_name("cpu") == model_name(torch.device("cpu")) == "cpu"
