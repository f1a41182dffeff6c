"""Tiny random models of transformers, as folders like those on a hub: config, tokenizer, preprocessor, safetensors.

They stand in for pretrained ones where no hub can be reached: `model=clip model.path=DIR/clip`.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import (
    AltCLIPConfig,
    AltCLIPModel,
    BertConfig,
    ChineseCLIPConfig,
    ChineseCLIPModel,
    ClapConfig,
    ClapFeatureExtractor,
    ClapModel,
    CLIPConfig,
    CLIPImageProcessor,
    CLIPModel,
    FlavaConfig,
    FlavaImageProcessor,
    FlavaModel,
    MetaClip2Config,
    MetaClip2Model,
    PreTrainedTokenizerFast,
    SiglipConfig,
    SiglipImageProcessor,
    SiglipModel,
    VisionTextDualEncoderConfig,
    VisionTextDualEncoderModel,
    ViTConfig,
    ViTImageProcessor,
    Wav2Vec2Config,
    Wav2Vec2FeatureExtractor,
    Wav2Vec2Model,
)
from transformers.utils import logging

SIZE = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48}
IMAGE = {"image_size": 32, "patch_size": 8}
NUM_BYTES = 256  # a token for each, so that every text can be read
SPECIAL = ("[UNK]", "[MASK]", "[CLS]", "[SEP]")  # the last one has the highest id, as in CLIP
PAD, FIRST = 0, 1 + NUM_BYTES
UNKNOWN, MASK, BEGIN, END = range(FIRST, FIRST + len(SPECIAL))
NUM_IDS = FIRST + len(SPECIAL)
TEXT = {"vocab_size": NUM_IDS, "bos_token_id": BEGIN, "eos_token_id": END, "pad_token_id": PAD, **SIZE}


def save_clip(folder: Path) -> None:
    """Save a CLIP (Radford et al., 2021) for images of 32 pixels and texts of 77 tokens.

    Args:
        folder: written.
    """
    config = CLIPConfig(text_config=TEXT, vision_config={**IMAGE, **SIZE}, projection_dim=24)
    CLIPModel(config).save_pretrained(folder)
    _save_tokenizer(folder, longest=77)
    CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}).save_pretrained(folder)


def save_metaclip_2(folder: Path) -> None:
    """Save a MetaCLIP 2 (Chuang et al., 2025) for images of 32 pixels and texts of 77 tokens.

    Args:
        folder: written.
    """
    config = MetaClip2Config(text_config=TEXT, vision_config={**IMAGE, **SIZE}, projection_dim=24)
    MetaClip2Model(config).save_pretrained(folder)
    _save_tokenizer(folder, longest=77)
    CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}).save_pretrained(folder)


def save_chinese_clip(folder: Path) -> None:
    """Save a Chinese CLIP (Yang et al., 2022) for images of 32 pixels and texts of 64 tokens.

    Args:
        folder: written.
    """
    text = {"max_position_embeddings": 64, **TEXT}
    config = ChineseCLIPConfig(text_config=text, vision_config={**IMAGE, **SIZE}, projection_dim=24)
    ChineseCLIPModel(config).save_pretrained(folder)
    _save_tokenizer(folder, longest=64)
    CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}).save_pretrained(folder)


def save_altclip(folder: Path) -> None:
    """Save an AltCLIP (Chen et al., 2022) for images of 32 pixels and texts of 64 tokens.

    Args:
        folder: written.
    """
    text = {"max_position_embeddings": 65, "project_dim": 24, **TEXT}  # RoBERTa reserves those up to the padding's id
    config = AltCLIPConfig(text_config=text, vision_config={**IMAGE, **SIZE}, projection_dim=24)
    AltCLIPModel(config).save_pretrained(folder)
    _save_tokenizer(folder, longest=64)
    CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}).save_pretrained(folder)


def save_dual_encoder(folder: Path) -> None:
    """Save a ViT and a BERT as one contrastive model (LiT, Zhai et al., 2022), for 32 pixels and 64 tokens.

    Args:
        folder: written.
    """
    text = BertConfig(max_position_embeddings=64, **TEXT)
    config = VisionTextDualEncoderConfig.from_vision_text_configs(ViTConfig(**IMAGE, **SIZE), text, projection_dim=24)
    VisionTextDualEncoderModel(config).save_pretrained(folder)
    _save_tokenizer(folder, longest=64)
    ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(folder)


def save_siglip(folder: Path) -> None:
    """Save a SigLIP (Zhai et al., 2023) for images of 32 pixels and texts of 64 tokens.

    Args:
        folder: written.
    """
    config = SiglipConfig(text_config={"projection_size": 32, **TEXT}, vision_config={**IMAGE, **SIZE})
    SiglipModel(config).save_pretrained(folder)
    _save_tokenizer(folder, longest=64)
    SiglipImageProcessor(size={"height": 32, "width": 32}).save_pretrained(folder)


def save_flava(folder: Path) -> None:
    """Save a FLAVA (Singh et al., 2022) for images of 32 pixels and texts of 64 tokens.

    Args:
        folder: written.
    """
    text = {"max_position_embeddings": 64, **TEXT}
    config = FlavaConfig(text_config=text, image_config={**IMAGE, **SIZE}, multimodal_config=SIZE, projection_dim=24)
    FlavaModel(config).save_pretrained(folder)
    _save_tokenizer(folder, longest=64)
    sizes = {"size": {"height": 32, "width": 32}, "crop_size": {"height": 32, "width": 32}}
    FlavaImageProcessor(**sizes).save_pretrained(folder)


def save_clap(folder: Path) -> None:
    """Save a CLAP (Wu et al., 2023) for 1 s of sound at 16,000 Hz and texts of 64 tokens.

    Args:
        folder: written.
    """
    text = {"max_position_embeddings": 65, **TEXT}  # RoBERTa reserves those up to the id of the padding
    sizes = {"hidden_size": 32, "patch_embeds_hidden_size": 16, "depths": [1, 1], "num_attention_heads": [2, 2]}
    audio = {"spec_size": 64, "num_mel_bins": 16, **sizes}
    ClapModel(ClapConfig(text_config=text, audio_config=audio, projection_dim=24)).save_pretrained(folder)
    _save_tokenizer(folder, longest=64)
    ClapFeatureExtractor(
        feature_size=16,
        sampling_rate=16000,
        hop_length=160,
        max_length_s=1,
        frequency_min=50,
        frequency_max=8000,
        truncation="rand_trunc",
    ).save_pretrained(folder)


def save_wav2vec2(folder: Path) -> None:
    """Save a wav2vec 2.0 (Baevski et al., 2020) for sound at 16,000 Hz.

    Args:
        folder: written.
    """
    convolutions = {"conv_dim": (32,) * 7, "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 2}
    config = Wav2Vec2Config(feat_extract_norm="layer", **convolutions, **SIZE)
    Wav2Vec2Model(config).save_pretrained(folder)
    Wav2Vec2FeatureExtractor(do_normalize=True, return_attention_mask=True).save_pretrained(folder)


SAVE: dict[str, Callable[[Path], None]] = {
    "clip": save_clip,
    "metaclip_2": save_metaclip_2,
    "chinese_clip": save_chinese_clip,
    "altclip": save_altclip,
    "vision-text-dual-encoder": save_dual_encoder,
    "siglip": save_siglip,
    "flava": save_flava,
    "clap": save_clap,
    "wav2vec2": save_wav2vec2,
}


def save_tiny_models(folder: Path) -> list[Path]:
    """Save every tiny model, with the same random weights each time.

    Args:
        folder: a folder for each model is made in it.

    Returns:
        The folders.
    """
    for name in SAVE:
        save_tiny_model(name, folder / name)
    return [folder / name for name in SAVE]


def save_tiny_model(name: str, folder: Path) -> None:
    """Save one tiny model, with the same random weights each time.

    Args:
        name: a key of SAVE.
        folder: written; made if it does not exist.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        SAVE[name](folder)


def _save_tokenizer(folder: Path, longest: int) -> None:
    """Save a tokenizer that reads bytes: no text has an unknown token."""
    tokens = ["[PAD]", *sorted(pre_tokenizers.ByteLevel.alphabet()), *SPECIAL]
    vocabulary = {token: number for number, token in enumerate(tokens)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[], unk_token=tokens[UNKNOWN]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{tokens[BEGIN]} $A {tokens[END]}",
        special_tokens=[(tokens[BEGIN], BEGIN), (tokens[END], END)],
    )
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        model_max_length=longest,
        pad_token=tokens[PAD],
        unk_token=tokens[UNKNOWN],
        mask_token=tokens[MASK],
        bos_token=tokens[BEGIN],
        eos_token=tokens[END],
    )
    fast.save_pretrained(folder)


def main() -> None:
    """Save the tiny models in the folder that the command line names."""
    parser = argparse.ArgumentParser(description="Save tiny random models of transformers, for use without a hub.")
    logging.disable_progress_bar()
    logging.set_verbosity_error()  # it checks the token ids of a default config, too
    parser.add_argument("folder", type=Path, metavar="DIR", help="a folder for each model is made in it")
    for folder in save_tiny_models(parser.parse_args().folder):
        print(folder)


if __name__ == "__main__":
    main()
