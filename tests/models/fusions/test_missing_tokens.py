"""A missing modality is a token that the model learns."""

import torch
from torch import nn

from mmrun.models.fusions.missing_tokens import LateTransformer
from tests.models.fusions.rows import NO, make_rows, select_dims


def test_a_learned_token_stands_for_a_missing_modality():
    _, features, present = make_rows("image", "text")
    module = LateTransformer(select_dims("image", "text"), dim=8)
    nn.init.zeros_(module.project["text"].weight)
    without_text = {**present, "text": NO}
    assert not torch.allclose(module(features, present), module(features, without_text), atol=1e-3)
    module.project["text"].bias.data = module.missing["text"].data.flatten()
    torch.testing.assert_close(module(features, present), module(features, without_text))


def test_it_learns_what_the_absence_of_a_modality_means():
    fusion = LateTransformer({"image": 4}, dim=8, num_heads=2, num_layers=1)
    head = fusion.head(2)
    optimizer = torch.optim.Adam([*fusion.parameters(), *head.parameters()], lr=0.01)
    for _ in range(50):
        _, features, _ = make_rows("audio")
        label = torch.tensor([0, 1])
        output = head(fusion({"image": features["audio"]}, {"image": label == 1}))
        optimizer.zero_grad()
        nn.functional.cross_entropy(output, label).backward()
        optimizer.step()
    assert output.argmax(1).tolist() == [0, 1]
