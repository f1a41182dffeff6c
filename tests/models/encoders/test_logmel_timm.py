"""Image models on spectrograms."""

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from mmrun import compose
from mmrun.models.encoders.logmel import build_mel_filters
from mmrun.models.encoders.logmel_timm import LogMelTimm

SOUND = {"sample_rate": 16000, "num_samples": 16000}


def noise(num_samples: int) -> Tensor:  # [1, S]
    return torch.randn(1, num_samples, generator=torch.Generator().manual_seed(0)).clamp(-3, 3) / 4


def test_default_spectrograms_have_the_usual_size() -> None:
    node = compose.load_option("encoder/audio", "logmel_resnet")
    assert (node["n_mels"], node["n_fft"], node["hop_length"], node["preprocess"]["sample_rate"]) == (
        128,
        1024,
        512,
        16000,
    )
    assert build_mel_filters(16000, 1024, 128, "slaney").amax(dim=1).min() > 0.5  # no band is empty


def test_a_spectrogram_is_read_as_a_grey_picture() -> None:
    torch.manual_seed(0)
    encoder = LogMelTimm(**SOUND).eval()
    x = {"waveform": noise(16000), "length": torch.tensor([16000])}
    assert encoder.logmel(x["waveform"]).shape == (1, 128, 32)
    assert encoder.picture.net.conv1.weight.shape == (64, 1, 7, 7)
    features = encoder(x)
    assert (features.pooled.shape, features.tokens.shape) == ((1, 512), (1, 4, 512))  # 4 x 1 cells of 32 x 32


def test_weights_for_colour_are_summed(tmp_path_factory: pytest.TempPathFactory) -> None:
    import timm

    path = tmp_path_factory.mktemp("weights") / "resnet18.safetensors"
    trained = timm.create_model("resnet18")
    save_file(trained.state_dict(), path)
    encoder = LogMelTimm(**SOUND, pretrained=str(path))
    torch.testing.assert_close(encoder.picture.net.conv1.weight, trained.conv1.weight.sum(dim=1, keepdim=True))
