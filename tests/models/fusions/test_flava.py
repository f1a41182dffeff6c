"""FLAVA's multimodal encoder: its fused vectors are those that the whole model computes."""

import pytest
import torch
from transformers import AutoModel

from mmrun.errors import ConfigError
from mmrun.models.encoders.hf_towers import ImageTower, TextTower
from mmrun.models.fusions.flava import Flava
from mmrun.testing.tiny_models import NUM_IDS, PAD
from mmrun.types import Features


@pytest.fixture
def folder(tiny_model):
    return tiny_model("flava")


@pytest.fixture
def inputs():
    ids = torch.randint(1, 256, (3, 12))
    mask = torch.arange(12) < torch.tensor([[12], [7], [3]])
    return torch.rand(3, 3, 32, 32), {"ids": ids.where(mask, PAD), "mask": mask}


@torch.no_grad()
def encode(folder, inputs):
    image = ImageTower(folder, 3, 32, projection="multimodal").eval()
    text = TextTower(folder, NUM_IDS, 12, PAD, projection="multimodal").eval()
    pixels, captions = inputs
    return (pixels - image.mean) / image.std, {"image": image(pixels), "text": text(captions)}


@torch.no_grad()
def test_the_fused_vector_is_the_class_token_of_the_whole_model(folder, inputs):
    normalized, features = encode(folder, inputs)
    captions = inputs[1]
    whole = AutoModel.from_pretrained(folder).eval()
    ids, mask = captions["ids"], captions["mask"].long()
    expected = whole(ids, normalized, attention_mask=mask).multimodal_embeddings
    fusion = Flava({"image": 32, "text": 32}, folder).eval()
    everywhere = torch.ones(3, dtype=torch.bool)
    fused = fusion(features, {"image": everywhere, "text": everywhere})
    torch.testing.assert_close(fused, expected[:, 0])


@torch.no_grad()
def test_without_its_image_a_row_is_fused_from_its_text_alone(folder, inputs):
    features = encode(folder, inputs)[1]
    fusion = Flava({"image": 32, "text": 32}, folder).eval()
    everywhere = torch.ones(3, dtype=torch.bool)
    fused = fusion(features, {"image": ~everywhere, "text": everywhere})
    mask = torch.nn.functional.pad(features["text"].mask.long(), (1, 0), value=1)  # of the class token
    alone = fusion.net(features["text"].tokens, attention_mask=mask).last_hidden_state[:, 0]
    torch.testing.assert_close(fused, alone)


def test_a_modality_with_an_encoder_of_another_width_joins_through_a_layer_of_its_own(folder):
    fusion = Flava({"image": 32, "text": 32, "audio": 5}, folder)
    layers = [name for name, _ in fusion.named_parameters() if name.startswith("project")]
    assert layers == ["project.audio.weight", "project.audio.bias"]
    features = {name: Features(torch.rand(2, width)) for name, width in (("image", 32), ("text", 32), ("audio", 5))}
    present = {name: torch.full((2,), name == "audio") for name in features}
    fused = fusion(features, present)
    assert fused.shape == (2, 32)
    assert not fused.allclose(fusion(features | {"audio": Features(torch.rand(2, 5))}, present))


def test_a_model_without_multimodal_encoder_is_refused(tiny_model):
    folder = tiny_model("clip")
    with pytest.raises(ConfigError) as caught:
        Flava({"image": 32}, folder)
    assert str(caught.value) == (
        f"fusion.model: {folder}, of type clip, has no multimodal encoder that reads tokens of other encoders; set it "
        "to a FLAVA, or choose another fusion"
    )
    with pytest.raises(ConfigError, match=r"projection=multimodal: .*, of type clip, has no multimodal encoder"):
        ImageTower(folder, 3, 32, projection="multimodal")
