"""What of a run leaves this machine when it is shared: what predicting needs, without what tells where it was trained.

Left out are the predictions, which hold targets and names of rows; `data.npz`, whose digests would tell whether a row
was in the data set; the log, the status with its host, notes, evaluations, objectives with their teachers and queues,
and every other checkpoint.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

from mmrun import hub
from mmrun.deploy.pack import CONTENTS, Contents, check_complete, find_final_checkpoint, make_contents
from mmrun.digests import FILE as DIGESTS
from mmrun.digests import compute_digest
from mmrun.errors import DataError
from mmrun.results.files import read_json, write_json, write_yaml
from mmrun.results.folder import RunFolder
from mmrun.results.schema import Config, Environment
from mmrun.training import checkpoint

CARD = "README.md"
WEIGHTS = ("model.safetensors", "state.json")  # of a checkpoint; the objective's own are not needed to predict
SAFE_FILE = re.compile(
    r"(config|overrides)\.yaml|(environment|fitted|metrics)\.json|hub/[^/]+/[^/]+\.json"
    r"|checkpoints/[^/]+/[^/]+/(model\.safetensors|(digests|state)\.json)"
)

NEUTRAL: dict[str, object] = {
    "outputs": "outputs",
    "cache": "~/.cache/mmrun",
    "tag": None,
    "note": None,
    "callbacks": {},
}
ABSOLUTE = re.compile(r"^(?:/|~|\.\.(?:/|$)|file:|[A-Za-z]:[\\/])")
MENTIONS_PATH = re.compile(r"(?:^|[\s\[{(,:='\"])(?:/|~|\.\./|file:|[A-Za-z]:[\\/])")
HIDDEN_OVERRIDES = re.compile(r"[+~]*(?:outputs|cache|cache_limit|tag|note|callbacks\b.*|dataset\.(?:path|root))")


@dataclass(frozen=True)
class SharedRun:
    """The files of a run that are shared.

    Attributes:
        contents: their list, with digests.
        files: on this machine, by path in the repository; with the list and the model card.
    """

    contents: Contents
    files: dict[str, Path]

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.stat().st_size for file in self.files.values())


def collect_files(folder: RunFolder, card: str, scratch: Path) -> SharedRun:
    """Collect what is shared of a run.

    Args:
        folder: of the run.
        card: the model card, which becomes README.md.
        scratch: an empty folder for files that are written anew, without paths of this machine.

    Returns:
        The files; the weights lie in the run folder.

    Raises:
        ConfigError: the run is not finished, or did not record what was fitted to its training rows.
        DamagedError: a file of the run is not what was written.
        DataError: a file names the home folder of the user, or holds their token.
    """
    check_complete(folder)
    config = clean_config(folder.read_config())
    files = {"fitted.json": folder.fitted_file}
    files |= _write_config(folder, config, scratch)
    files |= _write_environment(folder, scratch)
    files |= _write_hub(folder, scratch)
    files |= _collect_weights(folder, scratch)
    digests = {name: compute_digest(file) for name, file in sorted(files.items())}
    contents = make_contents(folder, digests)
    (scratch / CONTENTS).write_text(json.dumps(contents, indent=1) + "\n", encoding="utf-8")
    (scratch / CARD).write_text(card, encoding="utf-8")
    files |= {CONTENTS: scratch / CONTENTS, CARD: scratch / CARD}
    _refuse_secrets(files)
    return SharedRun(contents, dict(sorted(files.items())))


def clean_config(config: Config) -> Config:
    """Return a config without the user's notes, trackers and folders. It predicts the same.

    Args:
        config: resolved, of a run.
    """
    cleaned: Config = {key: NEUTRAL.get(key, value) for key, value in config.items()}
    dataset = cleaned["dataset"] = dict(config["dataset"])
    if isinstance(dataset.get("path"), str) and not dataset["path"].startswith("hf://"):
        dataset["path"] = PurePath(dataset["path"]).name
    if "root" in dataset:
        dataset["root"] = None  # new files have their own
    shortened: Config = {}
    for key, value in cleaned.items():
        shortened[key] = value if key in NEUTRAL else shorten_paths(value)
    return shortened


def shorten_paths(value: Any) -> Any:
    """Replace each absolute path by its last part.

    Args:
        value: mappings, lists, strings and numbers.
    """
    if isinstance(value, Mapping):
        return {key: shorten_paths(item) for key, item in value.items()}
    if isinstance(value, list):
        return [shorten_paths(item) for item in value]
    if isinstance(value, str) and ABSOLUTE.match(value):
        return re.split(r"[\\/]", value.rstrip("\\/"))[-1]
    return value


def _write_config(folder: RunFolder, config: Config, scratch: Path) -> dict[str, Path]:
    """Write the config, the overrides that name nothing of this machine, and the metrics."""
    overrides = [override for override in folder.read_overrides() if not _is_local(override)]
    metrics: dict[str, Any] = {**folder.read_metrics(), "config": config, "files": {}}
    files = {name: scratch / name for name in ("config.yaml", "overrides.yaml", "metrics.json")}
    write_yaml(files["config.yaml"], config)
    write_yaml(files["overrides.yaml"], overrides)
    write_json(files["metrics.json"], metrics)
    return files


def _is_local(override: str) -> bool:
    key, _, value = override.partition("=")
    return HIDDEN_OVERRIDES.fullmatch(key) is not None or MENTIONS_PATH.search(value) is not None


def _write_environment(folder: RunFolder, scratch: Path) -> dict[str, Path]:
    """Write the properties that mmrun knows; those that someone added by hand stay here."""
    starts = []
    for start in folder.read_starts():
        starts.append({name: value for name, value in start.items() if name in Environment.__annotations__})
    if not starts:
        return {}
    file = scratch / "environment.json"
    write_json(file, {**starts[0], "starts": starts} if len(starts) > 1 else starts[0])
    return {file.name: file}


def _write_hub(folder: RunFolder, scratch: Path) -> dict[str, Path]:
    """Write the config files of pretrained models, under the names that the shared config has."""
    names = {hub.name_folder(text): hub.name_folder(shorten_paths(text)) for text in _list_texts(folder.read_config())}
    files = {}
    for file in sorted(folder.hub.glob("*/*.json")):
        folder.verify(file)
        target = scratch / "hub" / names.get(file.parent.name, file.parent.name) / file.name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(json.dumps(shorten_paths(read_json(file)), indent=1), encoding="utf-8")
        files[target.relative_to(scratch).as_posix()] = target
    return files


def _list_texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping | list):
        for item in value.values() if isinstance(value, Mapping) else value:
            yield from _list_texts(item)


def _collect_weights(folder: RunFolder, scratch: Path) -> dict[str, Path]:
    """Return the weights that predict, and write their digests alone."""
    final = find_final_checkpoint(folder)
    checkpoint.verify(final)
    place = final.relative_to(folder.path).as_posix()
    digests = {name: compute_digest(final / name) for name in WEIGHTS}
    (scratch / DIGESTS).write_text(json.dumps(digests, indent=1), encoding="utf-8")
    return {f"{place}/{DIGESTS}": scratch / DIGESTS, **{f"{place}/{name}": final / name for name in WEIGHTS}}


def _refuse_secrets(files: Mapping[str, Path]) -> None:
    """Raise an error where a file holds the user's token, or the path of their home folder."""
    from huggingface_hub import get_token

    home = str(Path.home())
    secrets = {"your token of the hub": get_token(), "the path of your home folder": None if home == "/" else home}
    for name, file in files.items():
        if file.suffix == ".safetensors":
            continue
        content = file.read_bytes()
        for kind, secret in secrets.items():
            if secret and re.search(re.escape(secret.encode()) + rb"(?![\w.-])", content):
                raise DataError(f"{name}: holds {kind}; nothing was sent")
