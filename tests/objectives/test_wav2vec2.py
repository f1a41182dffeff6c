"""wav2vec 2.0: its losses by hand, its codebooks, and that it learns."""

import math

import pytest
import torch

from mmrun.errors import ConfigError
from mmrun.models.encoders.series import Cnn1d
from mmrun.objectives.token_masks import MaskedSteps
from mmrun.objectives.wav2vec2 import ProductQuantizer, SeriesLatents, Wav2Vec2, compute_redundancy, contrast_steps

RIGHT, UP = [1.0, 0.0], [0.0, 1.0]


def test_negatives_are_the_other_hidden_steps_of_the_row_with_other_codes():
    context = torch.tensor([[RIGHT, RIGHT, RIGHT, RIGHT]])
    quantized = torch.tensor([[RIGHT, UP, UP, RIGHT]])
    codes = torch.tensor([[[0, 0], [0, 1], [0, 1], [0, 0]]])
    hidden = torch.tensor([[True, True, True, False]])
    loss = contrast_steps(context, quantized, codes, hidden, temperature=1.0)[0, :3]
    both = math.log((math.e + 2) / math.e)  # the first step: two negatives at right angles
    one = math.log(1 + math.e)  # the second: the third has its codes, so the first alone is a negative
    assert loss.tolist() == pytest.approx([both, one, one])


def test_redundancy_is_zero_where_all_entries_are_in_use():
    counted = torch.tensor([[True, True, False]])
    sure = torch.eye(2)
    spread = torch.stack([sure[0], sure[1], sure[0]]).view(1, 3, 1, 2)
    single = torch.stack([sure[0], sure[0], sure[1]]).view(1, 3, 1, 2)  # the last does not count
    assert compute_redundancy(spread, counted).item() == pytest.approx(0.0, abs=1e-5)
    assert compute_redundancy(single, counted).item() == pytest.approx(0.5, abs=1e-5)


def test_a_vector_becomes_one_entry_of_each_codebook_with_a_gradient_through_the_draw():
    torch.manual_seed(0)
    quantizer = ProductQuantizer(4, num_groups=2, num_entries=3, dim=6)
    x = torch.randn(1, 5, 4, requires_grad=True)
    vectors, codes, probabilities = quantizer(x, torch.tensor(1.0))
    chosen = torch.cat([quantizer.entries[0, codes[0, :, 0]], quantizer.entries[1, codes[0, :, 1]]], 1)
    torch.testing.assert_close(vectors[0], quantizer.project(chosen))
    assert probabilities.sum(-1).flatten().tolist() == pytest.approx([1.0] * 10)
    vectors.square().sum().backward()
    assert x.grad.any()
    first, second = (quantizer.eval()(x, torch.tensor(1.0))[1] for _ in range(2))
    assert torch.equal(first, second)  # nothing is drawn in evaluation


def train(diversity):
    """Return the contrastive loss before and after learning from noisy waves, and the redundancy of the codebooks."""
    torch.manual_seed(0)
    encoder = Cnn1d(1, channels=(16, 32), kernels=(7, 5), dropout=0.0)
    pretext = Wav2Vec2(32, lambda: MaskedSteps(1, 48, 0.5, 12), lambda: SeriesLatents(1, 16), num_entries=16)
    optimizer = torch.optim.Adam([*encoder.parameters(), *pretext.parameters()], lr=3e-3)
    losses = []
    for step in range(60):
        pretext.set_progress(step / 60)
        phase = torch.rand(32, 1, 1) * 6.28 + torch.arange(48) / 4
        x = {"values": phase.sin() + 0.1 * torch.randn(32, 1, 48), "mask": torch.ones(32, 48, dtype=torch.bool)}
        masked, target = pretext.corrupt(x, torch.ones(32, dtype=torch.bool))
        features = encoder(masked)
        pretext.diversity = 0.0
        losses.append(pretext.loss(features, target).mean().item())
        pretext.diversity = diversity
        optimizer.zero_grad()
        pretext.loss(features, target).mean().backward()
        optimizer.step()
    latents = torch.nn.functional.adaptive_avg_pool1d(target["latents"], 12).transpose(1, 2)
    redundancy = compute_redundancy(pretext.quantize(latents, torch.tensor(1.0))[2], features.mask).item()
    return sum(losses[:5]) / 5, sum(losses[-5:]) / 5, redundancy


def test_it_identifies_hidden_steps_of_waves_and_the_penalty_keeps_the_codebooks_in_use():
    first, last, redundancy = train(diversity=1.0)
    assert last < 0.8 * first
    _, _, redundancy_without = train(diversity=0.0)
    assert redundancy < redundancy_without - 0.2


def test_an_encoder_without_steps_is_refused():
    pretext = Wav2Vec2(8, lambda: MaskedSteps(1, 4, 0.5, 4), lambda: SeriesLatents(1))
    with pytest.raises(ConfigError) as caught:
        pretext.check(Cnn1d(1, channels=(4, 4), kernels=(3, 3)), "encoder.sensor")
    assert str(caught.value) == (
        "encoder.sensor: wav2vec2 needs tokens in the order of time, and this encoder has a single one; try "
        "encoder.sensor=gru"
    )
