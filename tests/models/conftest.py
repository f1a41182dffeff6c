"""Tiny random models of transformers, saved as folders like those on a hub."""

import warnings
from collections.abc import Callable
from pathlib import Path

import pytest

SIZE = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48}
WAVE = {"conv_dim": (32,) * 7, "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 2, **SIZE}
VOCAB, LONGEST = 60, 20  # of the text models


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], str]:
    """Return a function that saves a tiny random model and its preprocessor, and returns the folder."""
    folder = tmp_path_factory.mktemp("tiny")

    def save(name: str) -> str:
        path = folder / name
        if not path.exists():
            _save(name, path)
        return str(path)

    return save


def _save(name: str, path: Path) -> None:
    import transformers as hf

    processor = None
    if name == "bert":
        model = hf.BertModel(hf.BertConfig(vocab_size=VOCAB, max_position_embeddings=LONGEST, **SIZE))
    elif name == "minilm":  # a narrow BERT with many heads
        shape = {"hidden_size": 24, "num_hidden_layers": 6, "num_attention_heads": 12, "intermediate_size": 96}
        model = hf.BertModel(hf.BertConfig(vocab_size=VOCAB, max_position_embeddings=LONGEST, **shape))
    elif name == "roberta":  # its first two positions are reserved
        model = hf.RobertaModel(hf.RobertaConfig(vocab_size=VOCAB, max_position_embeddings=LONGEST + 2, **SIZE))
    elif name == "gpt2":
        model = hf.GPT2Model(hf.GPT2Config(vocab_size=VOCAB, n_positions=LONGEST, n_embd=32, n_layer=2, n_head=2))
    elif name == "t5":
        model = hf.T5Model(hf.T5Config(vocab_size=VOCAB, d_model=32, d_kv=16, d_ff=48, num_layers=2, num_heads=2))
    elif name == "clip":
        text = {"vocab_size": VOCAB, "max_position_embeddings": LONGEST, "eos_token_id": VOCAB - 1, **SIZE}
        model = hf.CLIPModel(hf.CLIPConfig(text_config=text, vision_config={"image_size": 32, "patch_size": 8, **SIZE}))
    elif name == "vit":
        model = hf.ViTModel(hf.ViTConfig(image_size=32, patch_size=8, **SIZE))
        processor = hf.ViTImageProcessor(image_mean=[0.1, 0.2, 0.3], image_std=[0.4, 0.5, 0.6])
    elif name == "dinov2":
        model = hf.Dinov2Model(hf.Dinov2Config(image_size=32, patch_size=8, mlp_ratio=2, **SIZE))
        processor = hf.ViTImageProcessor()
    elif name == "siglip":
        text = {"vocab_size": VOCAB, "max_position_embeddings": LONGEST, **SIZE}
        vision = {"image_size": 32, "patch_size": 8, **SIZE}
        model = hf.SiglipModel(hf.SiglipConfig(text_config=text, vision_config=vision))
        processor = hf.ViTImageProcessor()
    elif name == "resnet":
        model = hf.ResNetModel(hf.ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1]))
    elif name == "wav2vec2":
        model = hf.Wav2Vec2Model(hf.Wav2Vec2Config(feat_extract_norm="layer", **WAVE))
        processor = hf.Wav2Vec2FeatureExtractor(do_normalize=True, return_attention_mask=True)
    elif name == "hubert":  # with a group norm and without an attention mask, as published
        model = hf.HubertModel(hf.HubertConfig(**WAVE))
    elif name == "whisper":
        layers = {"encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 2, "decoder_attention_heads": 2}
        widths = {"d_model": 32, "encoder_ffn_dim": 48, "decoder_ffn_dim": 48, "vocab_size": VOCAB}
        special = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 1}
        model = hf.WhisperModel(hf.WhisperConfig(max_source_positions=50, **layers, **widths, **special))  # 1 s
        processor = hf.WhisperFeatureExtractor(chunk_length=1)
    elif name == "ast":
        model = hf.ASTModel(hf.ASTConfig(max_length=102, frequency_stride=16, time_stride=16, **SIZE))  # 1 s
        with warnings.catch_warnings(action="ignore"):  # about empty bands
            processor = hf.ASTFeatureExtractor(max_length=102, mean=-5.0, std=3.0)
    elif name == "videomae":
        model = hf.VideoMAEModel(hf.VideoMAEConfig(image_size=32, patch_size=8, num_frames=4, **SIZE))
        processor = hf.VideoMAEImageProcessor()
    elif name == "timesformer":
        model = hf.TimesformerModel(hf.TimesformerConfig(image_size=32, patch_size=8, num_frames=4, **SIZE))
        processor = hf.VideoMAEImageProcessor()
    elif name == "vivit":
        sizes = {"image_size": 32, "tubelet_size": [2, 8, 8], "num_frames": 4}
        model = hf.VivitModel(hf.VivitConfig(**sizes, **SIZE))
        processor = hf.VivitImageProcessor()
    model.save_pretrained(path)
    if processor is not None:
        processor.save_pretrained(path)
