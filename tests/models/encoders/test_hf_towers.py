"""Towers of pretrained multimodal models: their vectors are those that the whole model computes."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from mmrun.data.preprocess.text import Tokens
from mmrun.data.table import Column
from mmrun.errors import ConfigError
from mmrun.models.encoders.hf_clap import AudioTower
from mmrun.models.encoders.hf_towers import ImageTower, TextTower
from mmrun.testing.tiny_models import NUM_IDS, PAD
from mmrun.towers import FAMILIES

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


def test_a_clap_gives_the_aligned_vectors_of_the_whole_model(tiny_model: TinyModel) -> None:
    from transformers import AutoModel, AutoTokenizer, ClapFeatureExtractor

    folder = tiny_model("clap")
    whole = AutoModel.from_pretrained(folder).eval()
    audio, text = AudioTower(folder, 16000, 12000).eval(), TextTower(folder, NUM_IDS, 24, PAD).eval()
    waveform, length = torch.randn(2, 12000).clamp(-1, 1), torch.tensor([12000, 5000])  # the second is read three times
    waveform[1, 5000:] = 0
    clips = [waveform[0].numpy(), waveform[1, :5000].numpy()]
    extracted = ClapFeatureExtractor.from_pretrained(folder)(clips, sampling_rate=16000, return_tensors="pt")
    tokenized = AutoTokenizer.from_pretrained(folder)(CAPTIONS, padding="max_length", return_tensors="pt")
    with torch.no_grad():
        spectrogram = audio.compute_spectrogram(waveform, length)
        torch.testing.assert_close(spectrogram, extracted["input_features"].float(), atol=1e-2, rtol=1e-3)
        inputs = {"input_ids": tokenized["input_ids"], "attention_mask": tokenized["attention_mask"]}
        expected = whole(**inputs, input_features=spectrogram)
        sounds, captions = audio({"waveform": waveform, "length": length}).pooled, text(read_captions(folder)).pooled
    torch.testing.assert_close(torch.nn.functional.normalize(sounds), expected.audio_embeds)
    torch.testing.assert_close(torch.nn.functional.normalize(captions), expected.text_embeds)


def test_flava_gives_the_aligned_vectors_of_its_class_tokens(tiny_model: TinyModel) -> None:
    from transformers import AutoModel

    folder = tiny_model("flava")
    whole = AutoModel.from_pretrained(folder).eval()
    image, text = ImageTower(folder, 3, 32).eval(), TextTower(folder, NUM_IDS, 24, PAD).eval()
    pixels, captions = torch.rand(2, 3, 32, 32), read_captions(folder)
    with torch.no_grad():
        normalized = (pixels - image.mean) / image.std
        expected = whole.image_projection(whole.image_model(normalized).last_hidden_state)[:, 0]
        torch.testing.assert_close(image(pixels).pooled, expected)
        states = whole.text_model(captions["ids"], attention_mask=captions["mask"].long()).last_hidden_state
        torch.testing.assert_close(text(captions).pooled, whole.text_projection(states)[:, 0])


TWO_TOWERS = ("clip", "metaclip_2", "chinese_clip", "altclip", "vision-text-dual-encoder", "siglip")


@pytest.mark.parametrize("family", TWO_TOWERS)
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
        f"{folder}: a model of type bert has no tower for text; choose one of {', '.join(FAMILIES)}"
    )


def test_weights_are_never_a_pickle(tiny_model: TinyModel, tmp_path: Path) -> None:
    for file in Path(tiny_model("clip")).glob("*.json"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "pytorch_model.bin").write_bytes(b"a pickle")
    with pytest.raises(ConfigError, match=r"model\.safetensors"):
        ImageTower(str(tmp_path), 3, 32)
