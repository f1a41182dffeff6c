"""Which methods fit which encoder, for each file of configs/encoder; what they leave is rebuilt from its shapes."""

import copy
from functools import partial

import pytest
import torch

from mmrun.models.compress.depth import drop_blocks
from mmrun.models.compress.filters import prune_filters
from mmrun.models.compress.heads import prune_heads
from mmrun.models.compress.int8 import Quantization
from mmrun.models.compress.low_rank import factorize
from mmrun.models.compress.quantize import quantize_layers, split_attentions
from mmrun.models.compress.structure import apply_structure, describe_structure
from mmrun.testing.encoders import check_rows_are_independent, check_shapes
from mmrun.testing.examples import encoder_input
from tests.models.encoders.test_contract import CASES, kind_of
from tests.models.encoders.test_contract import build as build

WHOLE = [case for case in CASES if ":" not in case and case != "image/convnext_tiny"]  # a case for each YAML file
NARROWED = {
    "audio/hf",
    "audio/logmel_cnn",
    "audio/logmel_resnet",
    "audio/mfcc",
    "audio/tower",
    "audio/wavenet",
    "image/autoencoder",
    "image/cnn",
    "image/efficientnet_lite",
    "image/hf",
    "image/lenet",
    "image/resnet18",
    "image/timm",
    "image/vit_tiny",
    "points/bev",
    "points/bev_timm",
    "tabular/ft_transformer",
    "tabular/mlp",
    "text/hf",
    "text/tower",
    "text/transformer",
    "video/cnn3d",
    "video/hf",
}
WITH_FEWER_HEADS = {"tabular/ft_transformer", "text/transformer"}
SHALLOWER = {
    "audio/hf",
    "audio/tower",
    "image/efficientnet_lite",
    "image/hf",
    "image/resnet18",
    "image/tower",
    "image/vit_tiny",
    "series/tcn",
    "tabular/ft_transformer",
    "text/hf",
    "text/tower",
    "text/transformer",
    "video/frames_hf",
    "video/hf",
}
FACTORIZED = {
    "audio/hf",
    "audio/logmel_cnn",
    "audio/logmel_resnet",
    "audio/mfcc",
    "audio/tower",
    "audio/wavenet",
    "image/autoencoder",
    "image/cnn",
    "image/efficientnet_lite",
    "image/hf",
    "image/lenet",
    "image/resnet18",
    "image/timm",
    "image/tower",
    "image/vit_tiny",
    "points/bev",
    "points/bev_timm",
    "points/pointnet",
    "points/pointnet2",
    "series/cnn1d",
    "series/tcn",
    "tabular/ft_transformer",
    "tabular/mlp",
    "text/bow",
    "text/hf",
    "text/textcnn",
    "text/tower",
    "text/transformer",
    "video/cnn3d",
    "video/frames",
    "video/frames_hf",
    "video/frames_timm",
    "video/hf",
}


WITHOUT_LAYERS = {
    "audio/ica",
    "audio/pca",
    "image/ica",
    "image/pca",
    "series/gru",
    "series/ica",
    "series/pca",
    "tabular/ica",
    "tabular/pca",
    "text/gru",
    "text/lstm",
}  # of a kind that computes in 8 bits


def compute(encoder, x):
    features = encoder(x)
    return [part for part in (features.pooled, features.tokens) if part is not None]


def narrow(encoder, forward):
    pytest.importorskip("torch_pruning")
    return len(prune_filters(encoder, forward, 0.5, {})), []


def remove_heads(encoder, forward):
    return prune_heads(encoder, 0.5, {}), []


def make_shallower(encoder, forward):
    drops = drop_blocks(encoder, 0.5, forward)
    return len(drops), drops


def make_factors(encoder, forward):
    return factorize(encoder, 0.5), []


METHODS = {
    narrow: NARROWED,
    remove_heads: WITH_FEWER_HEADS,
    make_shallower: SHALLOWER,
    make_factors: FACTORIZED,
}


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.__name__)
@pytest.mark.parametrize("case", WHOLE)
def test_a_compressed_encoder_keeps_its_contract_and_is_rebuilt_from_its_shapes(build, case, method):
    original = build(case)
    encoder = copy.deepcopy(original).eval()
    count, drops = method(encoder, partial(compute, encoder, encoder_input(kind_of(case))))
    assert (count > 0) == (case in METHODS[method])
    if count == 0:
        return
    assert sum(p.numel() for p in encoder.parameters()) < sum(p.numel() for p in original.parameters())
    check_shapes(encoder)
    check_rows_are_independent(encoder)
    rebuilt = copy.deepcopy(original)
    structure = describe_structure(encoder, copy.deepcopy(original), drops)
    apply_structure(rebuilt, structure)
    rebuilt.load_state_dict(encoder.state_dict())
    x = encoder_input(kind_of(case))
    with torch.no_grad():
        torch.testing.assert_close(compute(rebuilt, x), compute(encoder, x))


@pytest.mark.parametrize("case", WHOLE)
def test_an_encoder_in_8_bits_keeps_its_contract_and_is_rebuilt_from_its_names(build, case):
    original = build(case).eval()
    encoder, x = copy.deepcopy(original), encoder_input(kind_of(case))
    split_attentions(encoder)
    names = quantize_layers(encoder, Quantization(), partial(compute, encoder, x))
    assert bool(names) == (case not in WITHOUT_LAYERS)
    if not names:
        return
    check_shapes(encoder)
    rebuilt = copy.deepcopy(original)
    apply_structure(rebuilt, describe_structure(encoder, copy.deepcopy(original), []))
    rebuilt.load_state_dict(encoder.state_dict())
    with torch.no_grad():
        for actual, again, expected in zip(compute(encoder, x), compute(rebuilt, x), compute(original, x), strict=True):
            torch.testing.assert_close(again, actual)
            torch.testing.assert_close(actual, expected, atol=0.2 * float(expected.abs().max()), rtol=0)
