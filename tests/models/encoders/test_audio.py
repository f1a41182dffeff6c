"""The receptive field of WaveNet, in samples; and image models on spectrograms."""

import pytest
import torch
from torch import Tensor

from mmrun.models.encoders.audio import WaveNet


def noise(num_samples: int) -> Tensor:  # [1, S]
    return torch.randn(1, num_samples, generator=torch.Generator().manual_seed(0)).clamp(-3, 3) / 4


def read(encoder: WaveNet, waveform: Tensor) -> Tensor:  # [T, D]
    tokens: Tensor = encoder({"waveform": waveform, "length": torch.tensor([waveform.shape[1]])}).tokens[0]
    return tokens


@pytest.fixture
def wavenet() -> WaveNet:
    torch.manual_seed(0)
    return WaveNet(dim=8, channels=6, num_layers=3, num_cycles=2, kernel=3, stride=4, pool=5).eval()


def test_wavenet_never_hears_ahead(wavenet: WaveNet) -> None:
    waveform = noise(200)
    changed = waveform.clone()
    changed[0, 107] += 0.1  # token 5 covers samples 100 to 119
    differs = (read(wavenet, waveform) - read(wavenet, changed)).abs().amax(dim=1) > 0
    assert differs.tolist() == [False] * 5 + [True] * 5


@pytest.mark.parametrize("pool", [1, 3])
def test_wavenet_reaches_back_as_far_as_its_receptive_field(pool: int) -> None:
    torch.manual_seed(0)
    wavenet = WaveNet(dim=8, channels=6, num_layers=3, num_cycles=2, kernel=3, stride=4, pool=pool).eval()
    assert wavenet.receptive_field == 4 * (2 + 2 * 2 * (1 + 2 + 4)) == 120
    waveform = noise(240).requires_grad_()
    token = 180 // (4 * pool) - 1  # the token that ends with sample 179
    (gradient,) = torch.autograd.grad(read(wavenet, waveform)[token].sum(), waveform)
    in_field = gradient[0].nonzero().squeeze(1)
    first = 180 - wavenet.receptive_field - 4 * (pool - 1)  # the first of the pooled steps begins that much earlier
    assert (in_field.min().item(), in_field.max().item(), len(in_field)) == (first, 179, 180 - first)


def test_default_wavenet_sees_a_quarter_of_a_second() -> None:
    wavenet = WaveNet()
    assert wavenet.receptive_field == 16 * 257 == 4112
    assert read(wavenet, noise(16000)).shape == (100, 64)  # one token per 10 ms


def test_wavenet_reads_a_last_incomplete_step(wavenet: WaveNet) -> None:
    waveform = noise(203)  # 50 steps and 3 samples
    changed = waveform.clone()
    changed[0, 202] += 0.1
    assert read(wavenet, waveform).shape == (11, 8)
    assert not torch.equal(read(wavenet, waveform)[10], read(wavenet, changed)[10])


def test_wavenet_pools_only_real_tokens(wavenet: WaveNet) -> None:
    features = wavenet({"waveform": noise(200), "length": torch.tensor([41])})  # two tokens and a sample of the third
    assert features.mask.sum().item() == 3
    torch.testing.assert_close(features.pooled[0], features.tokens[0, :3].mean(dim=0))
