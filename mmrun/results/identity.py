"""Which configs are the same run: the hash of a config, and the folder that it names."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmrun.config import result_config


def config_hash(config: Mapping[str, Any]) -> str:
    """Return the hash that two configs share if and only if they ask for the same result.

    Args:
        config: resolved; keys that cannot change the result do not count.

    Returns:
        8 hex digits.
    """
    canonical = json.dumps(result_config(config), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:8]


def run_folder_path(config: Mapping[str, Any]) -> Path:
    """Return the run folder of a config: outputs/default/digits-component-s0-1a2b3c4d.

    Args:
        config: resolved; `outputs` and `experiment` say where the folder is, the rest decides its name.
    """
    choices = config["choices"]
    name = f"{choices['dataset']}-{choices['strategy']}-s{config['seed']}-{config_hash(config)}".replace("/", ".")
    outputs: Path = Path(config["outputs"]).expanduser()
    return outputs / str(config["experiment"]) / name
