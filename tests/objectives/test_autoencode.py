import math

import pytest
import torch
from torch import nn

from mmrun.errors import ConfigError
from mmrun.objectives.autoencode import Autoencoder, Vae
from mmrun.types import Features

PRESENT = torch.ones(2, dtype=torch.bool)


def test_an_autoencoder_hides_nothing_and_its_target_is_the_image():
    x = torch.rand(2, 3, 8, 8)
    seen, target = Autoencoder(4, 3, 8).corrupt(x, PRESENT)
    assert seen is x
    assert target is x


def test_the_loss_is_half_the_squared_distance_summed_over_pixels():
    pretext = Autoencoder(4, 1, 2)
    pretext.decoder = nn.Unflatten(1, (1, 2, 2))  # the pooled vector is the picture
    pooled = torch.tensor([[1.0, 0.0, 0.5, 0.0], [0.0, 0.0, 0.0, 0.0]])
    target = torch.tensor([[[[0.0, 0.0], [0.5, 0.0]]], [[[1.0, 1.0], [1.0, 1.0]]]])
    assert pretext.loss(Features(pooled), target).tolist() == [0.5, 2.0]


def test_a_large_image_is_reconstructed_small():
    x = torch.rand(2, 1, 16, 16)
    pretext = Autoencoder(4, 1, 16, resolution=2)
    pretext.decoder = nn.Unflatten(1, (1, 2, 2))
    quarters = x.unfold(2, 8, 8).unfold(3, 8, 8).mean((4, 5)).flatten(1)
    assert pretext.loss(Features(quarters), x).tolist() == pytest.approx([0.0, 0.0], abs=1e-9)


# ---- x = w z + b + 0.5 e: evidence and posterior have a closed form

W, B, DEVIATION = torch.tensor([1.0, -0.5, 2.0, 0.3]), torch.tensor([0.1, 0.2, 0.0, -0.3]), 0.5
X = torch.tensor([0.9, -0.4, 1.5, 0.2])
MANY = 20000


def build_linear_gaussian(mean_shift=0.0, wider=1.0):
    """Return the VAE whose decoder is that model and whose posterior is the true one, shifted and widened."""
    vae = Vae(dim=4, in_channels=1, image_size=2, latent_dim=1, deviation=DEVIATION)
    decode, variance = nn.Linear(1, 4), 1 / (1 + W.square().sum() / DEVIATION**2)
    with torch.no_grad():
        decode.weight.copy_(W.unsqueeze(1))
        decode.bias.copy_(B)
        towards = variance * W / DEVIATION**2
        vae.posterior.weight.copy_(torch.stack([towards, torch.zeros(4)]))
        vae.posterior.bias.copy_(torch.stack([mean_shift - towards @ B, (variance * wider).log()]))
    vae.decoder = nn.Sequential(decode, nn.Unflatten(1, (1, 2, 2)))
    return vae


def compute_lower_bound(vae):
    torch.manual_seed(0)
    with torch.no_grad():
        loss = vae.loss(Features(X.expand(MANY, 4)), X.view(1, 1, 2, 2).expand(MANY, 1, 2, 2))
    return -loss.mean().item()


def compute_evidence():
    covariance = torch.outer(W, W) + DEVIATION**2 * torch.eye(4)
    return torch.distributions.MultivariateNormal(B, covariance).log_prob(X).item()


def test_the_bound_meets_the_evidence_where_the_posterior_is_the_true_one():
    assert compute_lower_bound(build_linear_gaussian()) == pytest.approx(compute_evidence(), abs=0.02)


@pytest.mark.parametrize(("mean_shift", "wider"), [(0.3, 1.0), (0.0, 3.0), (0.0, 0.2), (-0.5, 2.0)])
def test_elsewhere_the_bound_lies_below_by_the_divergence_of_the_posteriors(mean_shift, wider):
    variance = 1 / (1 + W.square().sum().item() / DEVIATION**2)
    divergence = 0.5 * (wider - 1 - math.log(wider) + mean_shift**2 / variance)
    assert divergence > 0.2
    assert compute_lower_bound(build_linear_gaussian(mean_shift, wider)) == pytest.approx(
        compute_evidence() - divergence, abs=0.05
    )


def test_a_code_without_information_costs_nothing():
    vae = Vae(dim=4, in_channels=1, image_size=2, latent_dim=3, deviation=1.0)
    nn.init.zeros_(vae.posterior.weight)
    nn.init.zeros_(vae.posterior.bias)
    vae.decoder = nn.Sequential(nn.Linear(3, 4), nn.Unflatten(1, (1, 2, 2)))
    nn.init.zeros_(vae.decoder[0].weight)
    nn.init.zeros_(vae.decoder[0].bias)
    loss = vae.loss(Features(torch.randn(1, 4)), torch.full((1, 1, 2, 2), 3.0))
    assert loss.item() == pytest.approx(0.5 * 4 * 9 + 2 * math.log(2 * math.pi))


def test_a_deviation_of_zero_is_refused():
    with pytest.raises(ConfigError) as caught:
        Vae(4, 1, 2, deviation=0.0)
    assert str(caught.value) == "objective.by_kind.image.deviation: 0.0 is not above 0"
