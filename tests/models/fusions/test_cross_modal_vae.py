"""Missing modalities are generated from the others."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mmrun.models.fusions.cross_modal_vae import CrossModalVae, RunningMoments
from mmrun.models.fusions.filled import Filled
from mmrun.models.fusions.simple import Concat
from mmrun.types import Features

DIMS = {"a": 4, "b": 4}


def draw_rows(count, share_missing, generator):
    """Return rows in which b is the magnitude of a, and the class depends on b linearly."""
    a = torch.randn(count, 4, generator=generator)
    has_b = torch.rand(count, generator=generator) >= share_missing
    pooled = {"a": a, "b": torch.where(has_b[:, None], a.abs(), 0.0)}
    return pooled, {"a": torch.ones(count, dtype=torch.bool), "b": has_b}, (a.abs().sum(1) > 3.1).long()


def measure_accuracy(fill):
    """Return accuracy on rows of which half lack b; training rows have both modalities."""
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(1)
    pooled, present, target = draw_rows(1000, 0.0, generator)
    fusion, head = Filled(Concat(DIMS, 8), DIMS, fill), nn.Linear(8, 2)
    optimizer = torch.optim.Adam([*fusion.parameters(), *head.parameters()], lr=1e-2)
    for _ in range(200):
        rows = torch.randint(0, 1000, (128,))
        features = {modality: Features(x[rows]) for modality, x in pooled.items()}
        of_batch = {modality: mask[rows] for modality, mask in present.items()}
        losses = fusion.auxiliary_losses(features, of_batch).values()
        loss = F.cross_entropy(head(fusion(features, of_batch)), target[rows]) + sum(losses)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    pooled, present, target = draw_rows(1000, 0.5, generator)
    outputs = head(fusion.eval()({modality: Features(x) for modality, x in pooled.items()}, present))
    return (outputs.argmax(1) == target).float().mean().item()


def test_a_modality_that_another_determines_is_generated_where_a_token_knows_nothing():
    assert measure_accuracy("token") < 0.8
    assert measure_accuracy("generate") > 0.9


def test_the_posterior_is_the_product_of_the_experts_and_the_prior():
    """Of N(0, 1), N(2, 1 / 3) and N(-1, 1 / 2): precision 1 + 3 + 2 = 6, mean (3 * 2 - 2 * 1) / 6."""
    vae = CrossModalVae(DIMS, latent_dim=1)
    for modality, of_expert in {"a": (2.0, 3.0), "b": (-1.0, 2.0)}.items():
        last = vae.expert[modality][-1]
        nn.init.zeros_(last.weight)
        last.bias.data = torch.tensor([of_expert[0], math.log(math.expm1(of_expert[1]))])
    rows = {"a": torch.tensor([True, True, False]), "b": torch.tensor([True, False, False])}
    mean, precision = vae._infer({"a": torch.zeros(3, 4), "b": torch.zeros(3, 4)}, rows)
    assert precision.flatten().tolist() == pytest.approx([6.0, 4.0, 1.0])
    assert mean.flatten().tolist() == pytest.approx([4 / 6, 6 / 4, 0.0])


def test_the_bound_of_a_decoder_that_ignores_its_code():
    """At the prior the divergence is 0; an error of 2 at a variance of 4 costs (1 + log 4) / 2 per feature."""
    vae = CrossModalVae(DIMS).eval()
    for modality in DIMS:
        nn.init.zeros_(vae.decoder[modality][-1].weight)
        nn.init.zeros_(vae.decoder[modality][-1].bias)
        vae.log_variance[modality].data.fill_(math.log(4))
        vae.expert[modality][-1].weight.data.zero_()
        vae.expert[modality][-1].bias.data[:32], vae.expert[modality][-1].bias.data[32:] = 0.0, -100.0
    rows = torch.tensor([True, True, False])
    losses = vae.losses({"a": torch.full((3, 4), 2.0), "b": torch.full((3, 4), 2.0)}, {"a": rows, "b": ~rows})
    assert losses["a"].item() == pytest.approx((1 + math.log(4)) / 2, rel=1e-4)
    assert losses["b"].item() == pytest.approx((1 + math.log(4)) / 2, rel=1e-4)


def test_moments_are_those_of_the_rows_that_have_the_modality():
    moments = RunningMoments(1)
    x = torch.tensor([[1.0], [3.0], [math.nan]])
    for _ in range(200):
        moments.update(x, torch.tensor([True, True, False]))
        moments.update(x, torch.zeros(3, dtype=torch.bool))
    assert (moments.mean.item(), moments.variance.item()) == pytest.approx((2.0, 1.0))
    assert moments.restore(moments(x[:2])).tolist() == [[1.0], [3.0]]


def test_tasks_do_not_teach_the_generator_and_it_does_not_teach_encoders():
    fusion = Filled(Concat(DIMS, 8), DIMS, "generate")
    pooled = {modality: torch.randn(6, 4, requires_grad=True) for modality in DIMS}
    features = {modality: Features(x) for modality, x in pooled.items()}
    present = {"a": torch.ones(6, dtype=torch.bool), "b": torch.arange(6) < 3}
    fusion(features, present).sum().backward()
    assert all(parameter.grad is None for parameter in fusion.generator.parameters())
    before = pooled["a"].grad.clone()
    losses = fusion.auxiliary_losses(features, present)
    assert list(losses) == ["a", "b"]
    sum(losses.values()).backward()
    assert pooled["a"].grad.equal(before)
    assert all(parameter.grad.isfinite().all() for parameter in fusion.generator.parameters())


def test_missing_rows_teach_nothing():
    torch.manual_seed(0)
    vae, present = CrossModalVae(DIMS), {"a": torch.ones(4, dtype=torch.bool), "b": torch.arange(4) < 2}
    a, b = torch.randn(4, 4), torch.randn(4, 4)
    results = []
    for filler in (0.0, math.nan):
        torch.manual_seed(1)
        vae.zero_grad()
        losses = vae.eval().losses({"a": a, "b": torch.where(present["b"][:, None], b, filler)}, present)
        sum(losses.values()).backward()
        gradients = [parameter.grad.clone() for parameter in vae.parameters()]
        results.append([*losses.values(), *gradients])
    assert all(first.equal(second) for first, second in zip(*results, strict=True))
