import pytest
import torch
from torch import nn

from mmrun.errors import ConfigError
from mmrun.training.device import channels_last, model_name, naming_kernel, set_up


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


@pytest.fixture
def settings_of_torch():
    """Leave torch's global settings as they were."""
    precision, cudnn_tf32 = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    benchmark, deterministic = torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic
    yield
    torch.use_deterministic_algorithms(False)
    torch.set_float32_matmul_precision(precision)
    torch.backends.cudnn.allow_tf32 = cudnn_tf32
    torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic = benchmark, deterministic


@pytest.mark.usefixtures("settings_of_torch")
def test_a_gpu_gives_the_same_bits_or_is_quick():
    for deterministic in (False, True):
        set_up(torch.device("cuda"), deterministic, tf32=not deterministic)
        assert torch.are_deterministic_algorithms_enabled() is deterministic
        assert not torch.is_deterministic_algorithms_warn_only_enabled()
        assert torch.backends.cudnn.benchmark is not deterministic


@pytest.mark.usefixtures("settings_of_torch")
def test_old_and_new_flags_of_tf32_agree_whichever_was_set_before():
    for tf32 in (True, False, True):
        torch.backends.cuda.matmul.fp32_precision = "ieee" if tf32 else "tf32"
        set_up(torch.device("cuda"), deterministic=True, tf32=tf32)
        assert torch.backends.cuda.matmul.allow_tf32 is torch.backends.cudnn.allow_tf32 is tf32
        assert (torch.backends.cuda.matmul.fp32_precision == "tf32") is tf32
        for kernels in ("conv", "rnn"):
            assert (getattr(torch.backends.cudnn, kernels).fp32_precision == "tf32") is tf32


@pytest.mark.usefixtures("settings_of_torch")
def test_a_kernel_that_is_not_deterministic_is_named():
    set_up(torch.device("cuda"), deterministic=True, tf32=True)
    with pytest.raises(ConfigError) as error, naming_kernel():
        torch.zeros(3).put_(torch.tensor([0, 0]), torch.tensor([1.0, 2.0]))
    assert str(error.value) == (
        "trainer.deterministic: torch has no deterministic kernel for put_ on this device; "
        "trainer.deterministic=false trains without (equal runs then differ in their last bits)"
    )
    with pytest.raises(ConfigError, match=r"kernel for _histc_cuda with floating point input on this"), naming_kernel():
        raise RuntimeError("_histc_cuda with floating point input does not have a deterministic implementation, but")
    with pytest.raises(ConfigError, match=r"start Python with CUBLAS_WORKSPACE_CONFIG=:4096:8, or"), naming_kernel():
        raise RuntimeError("you must set an environment variable: CUBLAS_WORKSPACE_CONFIG=:4096:8 or")
    with pytest.raises(RuntimeError, match="of another kind"), naming_kernel():
        raise RuntimeError("of another kind")


def test_all_cpus_are_one_model():
    assert model_name("cpu") == model_name(torch.device("cpu")) == "cpu"
