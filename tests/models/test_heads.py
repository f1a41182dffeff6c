"""Heads made of class names behind learned context vectors (CoOp)."""

import pytest
import torch
import torch.nn.functional as F

from mmrun.errors import ConfigError
from mmrun.models.heads import PromptEmbedding, PromptTunedHead
from mmrun.run.class_names import embed_texts, tokenize
from mmrun.towers import FAMILIES

NAMES = ["a cat.", "an old dog."]
DIMS = {**dict.fromkeys(FAMILIES, 24), "siglip": 32}


@pytest.fixture
def build(tiny_model):
    """Return a function that builds a head for NAMES in the space of a family."""

    def build_head(family, **arguments):
        folder = tiny_model(family)
        return PromptTunedHead(DIMS[family], folder, **{**tokenize(folder, NAMES), **arguments})

    return build_head


def embedding_of(head):
    [embedding] = [module for module in head.modules() if isinstance(module, PromptEmbedding)]
    return embedding


def draw_rows(family, seed=0):
    torch.manual_seed(seed)
    return F.normalize(torch.randn(8, DIMS[family]), dim=1)


@pytest.mark.parametrize("family", DIMS)
def test_without_context_it_is_the_zero_shot_head(build, tiny_model, family):
    rows = draw_rows(family)
    with torch.no_grad():
        logits = build(family, context=0).train()(rows)
    torch.testing.assert_close(logits, rows @ embed_texts(tiny_model(family), NAMES).T)


@pytest.mark.parametrize("family", DIMS)
def test_the_gradient_reaches_the_context_and_the_temperature_alone(build, family):
    head = build(family, context=3)
    head(draw_rows(family)).square().sum().backward()
    with_gradient = [parameter for parameter in head.parameters() if parameter.grad is not None]
    assert {*with_gradient} == {head.log_scale, embedding_of(head).context}
    assert all(parameter.grad.any() for parameter in with_gradient)


def test_context_stands_before_the_name_as_words_would(build, tiny_model):
    folder, rows = tiny_model("clip"), draw_rows("clip")
    words = build("clip", **tokenize(folder, ["by"]), context=0)  # a token for each letter
    head = build("clip", context=2)
    with torch.no_grad():
        embedding_of(head).context.copy_(embedding_of(words).suffix[0, :2])
        expected = rows @ embed_texts(folder, [f"by{name}" for name in NAMES]).T
        torch.testing.assert_close(head(rows), expected)


@pytest.mark.parametrize(("class_specific", "num_learned"), [(False, 4 * 32), (True, 2 * 4 * 32)])
def test_a_few_steps_beat_the_zero_shot_head(build, class_specific, num_learned):
    rows = draw_rows("clip", seed=1)
    target = (rows[:, 0] > 0).long()
    head = build("clip", context=4, class_specific=class_specific)
    context = embedding_of(head).context
    assert context.numel() == num_learned
    optimizer = torch.optim.Adam([context], lr=0.1)
    for _ in range(30):
        optimizer.zero_grad()
        F.cross_entropy(head(rows), target).backward()
        optimizer.step()
    zero_shot = build("clip", context=0)
    assert count_correct(zero_shot, rows, target) < 5 < count_correct(head, rows, target)


def count_correct(head, rows, target):
    return int((head(rows).argmax(1) == target).sum())


def test_a_tokenizer_may_have_no_token_before_the_text(build, tiny_model):
    tokens = tokenize(tiny_model("siglip"), NAMES)
    class_ids = [ids[1:] for ids in tokens["class_ids"]]
    head = build("siglip", class_ids=class_ids, prefix_length=0, context=2)
    prompts = embedding_of(head)(head.ids)
    assert prompts.shape == (2, 64, 32)  # SigLIP reads padding
    assert prompts[1, :2].equal(embedding_of(head).context)


def test_training_and_evaluation_see_the_same_classes(build):
    head = build("clap")  # which has dropout
    rows = draw_rows("clap")
    assert head.train()(rows).equal(head.eval()(rows))


def test_more_context_than_the_tower_can_read_is_refused(build):
    with pytest.raises(ConfigError, match=r"^head.context: .*clip cannot read 83 tokens, 70 of them context; choose"):
        build("clip", context=70)


def test_another_space_is_refused(tiny_model):
    folder = tiny_model("clip")
    with pytest.raises(ConfigError, match=r"has 24 dimensions, and the fused vector 9; list the towers in modalities="):
        PromptTunedHead(9, folder, **tokenize(folder, NAMES))
