"""Data sets of the Hugging Face hub, by name: hf://owner/name."""

import os
import shutil
from pathlib import Path

from mmrun.errors import DataError, StorageError
from mmrun.hub import explain_unreachable, is_hub_reachable, summarize_error

START = "hf://"
DEFAULT_CACHE = Path("~/.cache/mmrun")
FOLDER = "hub_datasets"  # in the cache
NOT_DOWNLOADED = ["*.py", "*.pkl", "*.pickle", "*.pt", "*.pth"]  # code, and what runs code when it is opened


def download(address: str, cache: Path | None) -> Path:
    """Return the folder with the files of a data set, which are downloaded once. No code of it is run.

    Args:
        address: hf://owner/name, or hf://owner/name/FOLDER for a part of it.
        cache: folder that keeps them; None: ~/.cache/mmrun.

    Raises:
        DataError: there is no such data set, or the hub cannot be reached.
        StorageError: it cannot be written.
    """
    name = address.removeprefix(START).strip("/")
    owner, _, rest = name.partition("/")
    repository, _, part = rest.partition("/")
    if not owner or not repository or ".." in name.split("/"):
        raise DataError(f"dataset.path: {address} is not the address of a data set; write hf://owner/name")
    folder = (DEFAULT_CACHE.expanduser() if cache is None else cache) / FOLDER / f"{owner}--{repository}"
    if not folder.is_dir():
        _download(f"{owner}/{repository}", folder)
    if part and not (folder / part).is_dir():
        raise DataError(f"dataset.path: {address}: the data set has no folder {part}; it lies in {folder}")
    return folder / part


def _download(repository: str, folder: Path) -> None:
    from huggingface_hub import snapshot_download

    remedy = "download it yourself, and set dataset.path to its folder"
    if not is_hub_reachable():
        raise DataError(explain_unreachable("the files of", f"{START}{repository}", remedy))
    partial = folder.with_name(f".{folder.name}.{os.getpid()}")
    try:
        snapshot_download(repository, repo_type="dataset", local_dir=partial, ignore_patterns=NOT_DOWNLOADED)
        shutil.rmtree(partial / ".cache", ignore_errors=True)
        partial.rename(folder)
    except PermissionError as error:
        raise StorageError(f"{folder.parent}: cannot be written ({error.strerror}); set cache=FOLDER") from None
    except Exception as error:  # of huggingface_hub and its HTTP client, which have many classes
        if folder.is_dir():  # another process was quicker
            return
        raise DataError(
            f"dataset.path: {START}{repository} cannot be downloaded ({summarize_error(error)}); check the name, or "
            f"{remedy}"
        ) from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)
