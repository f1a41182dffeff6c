"""One pretext of every kind, and the objective that holds them."""

import torch
from torch import nn

from mmrun.objectives.denoise import DenoiseSeries, DenoiseTabular
from mmrun.objectives.masked_frames import MaskedFrames
from mmrun.objectives.masked_lm import MaskedLM
from mmrun.objectives.masked_spectrogram import MaskedSpectrogram
from mmrun.objectives.reconstruct import Reconstruct
from mmrun.objectives.self_supervised import SelfSupervised
from mmrun.testing.examples import DIMS, KINDS, METADATA, build_model

PRESENT = torch.ones(1, dtype=torch.bool)  # not used by these pretexts, which recover each row by itself
BY_KIND = {
    "image": lambda dim, in_channels, image_size: Reconstruct(dim, in_channels, image_size),
    "text": lambda dim, vocab_size, mask_id, **_: MaskedLM(dim, vocab_size, mask_id),
    "audio": lambda dim, sample_rate, num_samples: MaskedSpectrogram(dim, sample_rate, num_samples, n_mels=16),
    "tabular": DenoiseTabular,
    "series": DenoiseSeries,
    "video": MaskedFrames,
}


class Fixed(nn.Module):
    """A decoder with the same output for every vector."""

    def __init__(self, decoded):
        super().__init__()
        self.decoded = decoded

    def forward(self, pooled):
        return self.decoded


def build_objective(*modalities, joint=False):
    learner = build_model()
    torch.manual_seed(1)
    kinds, dims = ({name: table[name] for name in modalities or KINDS} for table in (KINDS, DIMS))
    return SelfSupervised(BY_KIND, kinds, dims, fusion_dim=6, metadata=METADATA, model=learner, joint=joint)


def get_trained_parts(learner):
    return {".".join(name.split(".")[:2]) for name, p in learner.named_parameters() if p.grad is not None}
