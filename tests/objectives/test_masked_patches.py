import pytest
import torch
from torch import nn

from mmrun.errors import ConfigError
from mmrun.models.encoders.image import Cnn
from mmrun.objectives.masked_patches import MaskedAutoencoder
from mmrun.types import Features

PRESENT = torch.ones(6, dtype=torch.bool)


def test_every_image_loses_the_same_number_of_whole_patches():
    x = torch.rand(6, 1, 16, 16)
    seen, target = MaskedAutoencoder(8, 1, 16, ratio=0.75, grid=4).corrupt(x, PRESENT)
    assert target["hidden"].sum(1).tolist() == [12] * 6
    assert len({tuple(row.tolist()) for row in target["hidden"]}) == 6  # different ones in each
    changed = (seen != x).unfold(2, 4, 4).unfold(3, 4, 4).flatten(4)  # [B, 1, 4, 4, 16 pixels]
    assert torch.equal(changed.all(-1), changed.any(-1))
    assert torch.equal(changed.all(-1).flatten(1), target["hidden"])
    painted = x.mean((2, 3), keepdim=True).expand_as(x)
    assert torch.equal(seen[seen != x], painted[seen != x])


class Fixed(nn.Module):
    """A decoder that returns these patches, whatever it reads."""

    def __init__(self, patches):
        super().__init__()
        self.patches = patches

    def forward(self, x):
        return self.patches


def test_only_hidden_patches_count_each_less_its_mean_and_deviation():
    pretext = MaskedAutoencoder(8, 1, 4, ratio=0.5, grid=2)
    image = torch.tensor([[0.0, 1.0, 0.2, 0.4], [0.0, 1.0, 0.2, 0.4], [0.9, 0.9, 0.1, 0.1], [0.3, 0.3, 0.1, 0.1]])
    target = {"image": image.view(1, 1, 4, 4), "hidden": torch.tensor([[True, False, True, False]])}
    decoded = torch.zeros(1, 4, 4)
    decoded[0, 0] = torch.tensor([-1.0, 1.0, -1.0, 1.0])  # the target, up to the 1e-4
    decoded[0, 1] = 1000.0  # not hidden
    decoded[0, 2] = torch.tensor([1.0, 1.0, 1.0, 1.0])  # the target is -1 in half the pixels: wrong by 2
    pretext.decode = Fixed(decoded)
    assert pretext.loss(Features(torch.zeros(1, 8)), target).tolist() == pytest.approx([(0 + 4 / 2) / 2], rel=2e-3)


def test_tokens_that_form_a_grid_lie_where_their_patches_do():
    pretext = MaskedAutoencoder(1, 1, 8, grid=4)
    cells = torch.tensor([[[1.0], [2.0], [3.0], [4.0]]])  # 2 x 2
    wide = [1, 1, 2, 2, 1, 1, 2, 2, 3, 3, 4, 4, 3, 3, 4, 4]
    pooled = torch.tensor([[9.0]])
    assert pretext.select_patch_features(Features(pooled, cells)).flatten().tolist() == wide
    with_class = torch.cat([torch.tensor([[[7.0]]]), cells], 1)
    assert pretext.select_patch_features(Features(pooled, with_class)).flatten().tolist() == wide


@pytest.mark.parametrize("tokens", [None, torch.zeros(1, 7, 1)])
def test_where_no_tokens_form_a_grid_the_pooled_vector_stands_in(tokens):
    places = MaskedAutoencoder(1, 1, 8, grid=4).select_patch_features(Features(torch.tensor([[9.0]]), tokens))
    assert places.flatten().tolist() == [9.0] * 16


def test_it_learns_what_stands_behind_the_hidden_patches():
    torch.manual_seed(0)
    stripes = (torch.arange(16) // 2 % 2).float().expand(16, 16)
    x = torch.stack([stripes, stripes.T, 1 - stripes, 1 - stripes.T] * 4).unsqueeze(1)
    encoder, pretext = Cnn(1, (8, 16), (3, 3)), MaskedAutoencoder(16, 1, 16, grid=4, decoder_dim=32)
    optimizer = torch.optim.Adam([*encoder.parameters(), *pretext.parameters()], lr=3e-3)
    for _ in range(150):
        seen, target = pretext.corrupt(x, torch.ones(16, dtype=torch.bool))
        loss = pretext.loss(encoder(seen), target).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.2  # the patch's mean would leave 1.0


@pytest.mark.parametrize("image_size", [28, 30, 7])
def test_images_that_patches_do_not_divide(image_size):
    pretext = MaskedAutoencoder(8, 3, image_size, grid=7)
    seen, target = pretext.corrupt(torch.rand(6, 3, image_size, image_size), PRESENT)
    assert seen.shape == (6, 3, image_size, image_size)
    assert pretext.loss(Features(torch.randn(6, 8)), target).isfinite().all()


def test_more_patches_than_pixels_are_refused():
    with pytest.raises(ConfigError) as caught:
        MaskedAutoencoder(8, 1, 7)
    assert str(caught.value) == "objective.by_kind.image.grid: 8 patches do not fit into 7 pixels"
