"""Towers of pretrained multimodal models: their vectors are those that the whole model computes."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from mmrun.data.preprocess.text import Tokens
from mmrun.data.table import Column
from mmrun.errors import ConfigError
from mmrun.models.encoders.hf_towers import ImageTower, TextTower
from mmrun.testing.tiny_models import NUM_IDS, PAD

TinyModel = Callable[[str], str]
CAPTIONS = ["a photo of a cat", "two dogs"]


def read_captions(folder: str) -> dict[str, torch.Tensor]:
    """Tokenize CAPTIONS as a run does, to the shortest length that cuts none."""
    tokens = Tokens(tokenizer=folder, auto_range=(8, 64))
    tokens.fit(Column("text", CAPTIONS), torch.arange(2).numpy())
    parts = [tokens.decode(caption) for caption in CAPTIONS]
    assert len(parts[0]["ids"]) == 24
    ids = torch.tensor([part["ids"].tolist() for part in parts])
    return {"ids": ids, "mask": torch.tensor([part["mask"].tolist() for part in parts])}


@pytest.mark.parametrize("family", ["clip", "siglip"])
def test_towers_give_the_aligned_vectors_of_the_whole_model(family: str, tiny_model: TinyModel) -> None:
    from transformers import AutoModel, AutoTokenizer

    folder = tiny_model(family)
    whole = AutoModel.from_pretrained(folder).eval()
    image, text = ImageTower(folder, 3, 32).eval(), TextTower(folder, NUM_IDS, 24, PAD).eval()
    pixels = torch.rand(2, 3, 32, 32)
    tokenized = AutoTokenizer.from_pretrained(folder)(CAPTIONS, padding="max_length", return_tensors="pt")
    mask = {} if family == "siglip" else {"attention_mask": tokenized["attention_mask"]}  # its processor returns none
    with torch.no_grad():
        expected = whole(input_ids=tokenized["input_ids"], pixel_values=(pixels - image.mean) / image.std, **mask)
        pictures, captions = image(pixels).pooled, text(read_captions(folder)).pooled
    torch.testing.assert_close(torch.nn.functional.normalize(pictures), expected.image_embeds)
    torch.testing.assert_close(torch.nn.functional.normalize(captions), expected.text_embeds)


def test_images_of_another_size_are_read(tiny_model: TinyModel) -> None:
    tower = ImageTower(tiny_model("clip"), 1, 48)
    assert tower(torch.rand(2, 1, 48, 48)).tokens.shape == (2, 1 + 6 * 6, 24)


def test_texts_longer_than_the_model_reads_are_rejected(tiny_model: TinyModel) -> None:
    folder = tiny_model("siglip")
    with pytest.raises(ConfigError, match=rf"{folder} cannot read 65 tokens of {NUM_IDS}; pass preprocess.tokenizer"):
        TextTower(folder, NUM_IDS, 65, PAD)


def test_a_model_without_such_a_tower_is_rejected(tiny: TinyModel) -> None:
    folder = tiny("bert")
    with pytest.raises(ConfigError) as caught:
        TextTower(folder, 60, 12, 0)
    assert str(caught.value) == (
        f"{folder}: a model of type bert has no tower for text; choose one of clip, siglip, flava, clap"
    )


def test_weights_are_never_a_pickle(tiny_model: TinyModel, tmp_path: Path) -> None:
    for file in Path(tiny_model("clip")).glob("*.json"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "pytorch_model.bin").write_bytes(b"a pickle")
    with pytest.raises(ConfigError, match=r"model\.safetensors"):
        ImageTower(str(tmp_path), 3, 32)
