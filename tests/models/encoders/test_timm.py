"""Models of timm: weights are loaded exactly, or rejected early with an error that helps."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file

from mmrun.errors import ConfigError
from mmrun.models.encoders.timm import Timm
from tests.hub import hub as hub

SMALL = {"in_channels": 3, "image_size": 32}


def test_without_a_hub_timm_says_what_to_do(hub: Callable[[str], None]) -> None:
    hub("http://127.0.0.1:9")  # no server listens there
    with pytest.raises(ConfigError) as caught:
        Timm("resnet18", **SMALL, pretrained=True)
    assert str(caught.value) == (
        "weights for resnet18 are not cached and the hub cannot be reached; "
        "pass pretrained=false, or pretrained=<a file of weights>"
    )


@pytest.mark.parametrize("num_classes", [0, 7, 1000])
def test_timm_loads_weights_from_a_file(num_classes: int, tmp_path: Path) -> None:
    trained = timm.create_model("resnet18", num_classes=num_classes).eval()
    path = tmp_path / "weights.safetensors"
    save_file(trained.state_dict(), path)
    encoder = Timm("resnet18", **SMALL, pretrained=str(path)).eval()
    pixels = torch.rand(2, 3, 32, 32)
    mean, std = torch.tensor([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]])[..., None, None]
    expected = trained.forward_features((pixels - mean) / std).mean((2, 3))
    torch.testing.assert_close(encoder(pixels).pooled, expected)


def test_timm_adapts_weights_to_grey_and_to_size(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    save_file(timm.create_model("vit_tiny_patch16_224", num_classes=0).state_dict(), path)
    encoder = Timm("vit_tiny_patch16_224", in_channels=1, image_size=64, pretrained=str(path))
    features = encoder(torch.rand(2, 1, 64, 64))
    assert (features.pooled.shape, features.tokens.shape) == ((2, 192), (2, 17, 192))


class Harmful:
    """An object that runs code when it is unpickled."""

    def __reduce__(self) -> Any:
        return print, ("harm is done",)


def test_timm_rejects_files_that_are_not_its_weights(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pickled, path = tmp_path / "weights.pth", tmp_path / "weights.safetensors"
    torch.save({"conv1.weight": Harmful()}, pickled)
    assert reject("resnet18", pickled) == (
        "pretrained: weights.pth may be a pickle, which can run code; "
        "save its tensors with safetensors.torch.save_file, and name that file"
    )
    pickled.rename(path)
    assert reject("resnet18", path).startswith("pretrained: weights.safetensors is not a safetensors file (")
    assert "harm" not in capsys.readouterr().out
    save_file(timm.create_model("resnet18").state_dict(), path)
    assert reject("resnet34", path) == "pretrained: the weights in weights.safetensors are not those of timm's resnet34"
    path.unlink()
    assert (
        reject("resnet18", path) == f"pretrained={path}: there is no such file; pass the path of a file, true or false"
    )


def reject(model: str, path: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        Timm(model, **SMALL, pretrained=str(path))
    return str(caught.value)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("resnt18", "timm has no model 'resnt18'; did you mean 'resnet18'?"),
        ("resnet18.a9_in1k", "timm has no model 'resnet18.a9_in1k'; did you mean 'resnet18.a3_in1k'?"),
        ("dinosaur!", "timm has no model 'dinosaur!'"),
        (
            "test_vit",
            "test_vit cannot read 8 x 8 pixels (Input height (8) should be divisible by patch size (16).)",
        ),
    ],
)
def test_timm_says_what_it_cannot_build(model: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Timm(model, in_channels=3, image_size=8, pretrained=False)
    assert str(caught.value) == message
