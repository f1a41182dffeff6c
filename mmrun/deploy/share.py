"""Runs on a hub: upload the files of one in a commit, and download one that may come from a stranger."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from logging import ERROR
from pathlib import Path
from typing import IO, TYPE_CHECKING, NamedTuple

from mmrun.deploy.pack import CONTENTS, MAX_CONTENTS, Contents, parse_contents, write_run
from mmrun.deploy.share_files import CARD, SAFE_FILE, SharedRun
from mmrun.errors import ConfigError, DamagedError, MmrunError
from mmrun.hub import is_hub_reachable, summarize_error
from mmrun.results.folder import RunFolder

if TYPE_CHECKING:
    from huggingface_hub import HfApi
    from huggingface_hub.utils.tqdm import tqdm

SCHEME = "hf://"
ADDRESS = re.compile(r"hf://([^/@\s]+)/([^/@\s]+)(?:@(\S+))?")
NAME = re.compile(r"(?!.*(?:--|\.\.))(?!.*\.git$)[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_])?")  # that a hub allows
MAIN = "main"  # the branch that a hub shows
OTHER_FILES = {CARD, ".gitattributes", ".gitignore", "LICENSE", "LICENSE.md"}  # of a repository without a run
MAX_NAME = 96  # characters of USER/NAME
MAX_REASON = 200  # characters of a hub's own message that are printed

# What the user can do about an answer of the hub
REASONS = {
    401: "the hub does not accept your token; log in again with `hf auth login`",
    403: "your token may not do this; use one with write access to this repository (`hf auth login`)",
    404: "there is no such repository, or your token may not read it",
    409: "somebody else changes this repository; repeat the command",
    412: "somebody else changed this repository; repeat the command",
    413: "the hub refuses files of this size",
    429: "the hub asks to slow down; repeat the command in some minutes",
}


class Address(NamedTuple):
    """A repository of models on a hub.

    Attributes:
        repository: USER/NAME.
        revision: a branch, a tag or a commit; None: the branch `main`.
    """

    repository: str
    revision: str | None

    def __str__(self) -> str:
        return f"{SCHEME}{self.repository}" + ("" if self.revision is None else f"@{self.revision}")


def parse_address(text: str) -> Address:
    """Parse hf://USER/NAME or hf://USER/NAME@REVISION.

    Raises:
        ConfigError: it is neither, or the hub allows no such name.
    """
    match = ADDRESS.fullmatch(text)
    if match is None:
        raise ConfigError(f"{text}: no repository; type hf://USER/NAME or hf://USER/NAME@REVISION")
    repository = f"{match[1]}/{match[2]}"
    if len(repository) > MAX_NAME or not (NAME.fullmatch(match[1]) and NAME.fullmatch(match[2])):
        raise ConfigError(
            f"{text}: the hub allows no such name; it has letters, digits and single - . _ between them, at most "
            f"{MAX_NAME} characters"
        )
    return Address(repository, match[3])


# -------------------------------------------------------------------------------------------------------------- push


@dataclass(frozen=True)
class Commit:
    """What a push did.

    Attributes:
        url: of the repository.
        id: of the commit.
        is_new: whether a file changed.
    """

    url: str
    id: str
    is_new: bool


def push(
    shared: SharedRun,
    address: Address,
    message: str,
    private: bool = False,
    replace: bool = False,
    progress: bool = False,
) -> Commit:
    """Upload a run in one commit. A repository that does not exist is made.

    Files of the run that was there before are removed in the same commit; other files stay.

    Args:
        shared: what is uploaded.
        address: where; its revision is a branch, which is made where there is none.
        message: of the commit.
        private: whether a new repository is private.
        replace: whether another run that is there may be replaced.
        progress: whether a bar on stderr shows it.

    Raises:
        ConfigError: there is no token, the hub cannot be reached or refuses, or the repository holds something else.
    """
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi

    check_login(address)
    api, branch = HfApi(), address.revision or MAIN
    with _silencing_hub(progress), _naming_hub_errors(address):
        _make_repository(api, address, private)
        head = api.model_info(address.repository, revision=branch)
        stored = {file.rfilename for file in head.siblings or ()}
        stale = _list_stale(address, str(head.sha), stored, shared.contents, replace)
        operations: list[CommitOperationAdd | CommitOperationDelete] = []
        operations += [CommitOperationAdd(name, str(file)) for name, file in shared.files.items()]
        operations += [CommitOperationDelete(name) for name in sorted(stale)]
        commit = api.create_commit(
            address.repository, operations, commit_message=message, revision=branch, parent_commit=head.sha
        )
        return Commit(f"{api.endpoint}/{address.repository}", commit.oid, commit.oid != head.sha)


def check_login(address: Address) -> None:
    """Check that the hub can be reached, and that the user has a token.

    Raises:
        ConfigError: one of them is not so.
    """
    from huggingface_hub import constants, get_token

    if constants.HF_HUB_OFFLINE:
        raise ConfigError(f"{address}: HF_HUB_OFFLINE=1 forbids to ask the hub; unset it")
    if get_token() is None:
        raise ConfigError(f"{address}: no token of the hub; log in with `hf auth login`, or set HF_TOKEN")
    if not is_hub_reachable():
        raise ConfigError(f"{address}: the hub cannot be reached at {constants.ENDPOINT}; check the network")


def _make_repository(api: "HfApi", address: Address, private: bool) -> None:
    """Make the repository and the branch where there are none; fail where an existing one is more public than asked."""
    from huggingface_hub.errors import RepositoryNotFoundError

    try:
        info = api.model_info(address.repository)
    except RepositoryNotFoundError:
        api.create_repo(address.repository, private=private)
    else:
        if private and not info.private:
            raise ConfigError(f"{address}: exists and is public; make it private in its settings, or use another name")
    if address.revision not in (None, MAIN):
        api.create_branch(address.repository, branch=str(address.revision), exist_ok=True)


def _list_stale(address: Address, commit: str, stored: set[str], new: Contents, replace: bool) -> set[str]:
    """Return the files of the run in a repository that the new one lacks; fail where another thing is there."""
    if CONTENTS not in stored:
        if stored - OTHER_FILES:
            raise ConfigError(f"{address}: exists, and holds something else than a run; use another name")
        return set()
    _, old = _download_contents(Address(address.repository, commit))
    if old["run"] != new["run"] and not replace:
        raise ConfigError(f"{address}: holds the run {old['run']}; use another name, or --replace it")
    return (old["files"].keys() & stored) - new["files"].keys()


# -------------------------------------------------------------------------------------------------------------- pull


def pull(address: Address, parent: Path, progress: bool = False) -> tuple[RunFolder, str]:
    """Download a run, and check every file of it. The repository may be a stranger's.

    Only the files of the run are downloaded, through the cache of huggingface_hub, from one commit.

    Args:
        address: where it is.
        parent: the folder in which the run's folder is made.
        progress: whether bars on stderr show it.

    Returns:
        The run, and the commit that it comes from.

    Raises:
        ConfigError: the repository has no run or cannot be read, or the run's folder exists.
        DamagedError: a file is not what its digest says, or none that mmrun push sends.
        StorageError: the folder cannot be written.
    """
    with _silencing_hub(progress):
        commit, contents = _download_contents(address)
        for name in contents["files"]:
            if not SAFE_FILE.fullmatch(name):
                raise DamagedError(f"{address}: a file called {name!r} is refused: mmrun push sends no such file")

        def open_file(name: str) -> IO[bytes]:
            return _download(address, name, commit, contents["files"][name]["size"]).open("rb")

        return write_run(contents, open_file, parent, str(address), "pull"), commit


def _download_contents(address: Address) -> tuple[str, Contents]:
    """Return a commit, and the files that it lists."""
    file = _download(address, CONTENTS, address.revision or MAIN, MAX_CONTENTS)
    return file.parent.name, parse_contents(file.read_bytes(), str(address))


def _download(address: Address, name: str, revision: str, limit: int) -> Path:
    """Return a file in the cache of huggingface_hub, downloaded unless it is there."""
    from huggingface_hub import hf_hub_download

    with _naming_hub_errors(address):
        progress = _limit_progress(f"{address}: {name}", limit)
        return Path(hf_hub_download(address.repository, name, revision=revision, tqdm_class=progress))


def _limit_progress(name: str, limit: int) -> "type[tqdm]":
    """Return a class of progress bars that ends a download which is longer than its digest says."""
    from huggingface_hub.utils.tqdm import tqdm

    class LimitedProgress(tqdm):
        received = 0.0

        def __init__(self, *args: object, **kwargs: object) -> None:
            super().__init__(*args, **{**kwargs, "leave": False})  # type: ignore[no-untyped-call]

        def update(self, n: float | None = 1) -> None:
            self.received += n or 0
            if self.received > limit:
                raise DamagedError(f"{name} is longer than its list says")
            super().update(n)

    return LimitedProgress


# ------------------------------------------------------------------------------------------------------------- errors


@contextmanager
def _naming_hub_errors(address: Address) -> Iterator[None]:
    """Report what the hub or the network refuses in one line."""
    try:
        yield
    except MmrunError:
        raise
    except Exception as error:  # the class of network errors depends on the version of huggingface_hub
        raise ConfigError(f"{address}: {_explain(error, address)}") from None


@contextmanager
def _silencing_hub(progress: bool) -> Iterator[None]:
    """Keep huggingface_hub from printing warnings, which name signed addresses, and progress unless it is wanted."""
    from huggingface_hub.utils import logging
    from huggingface_hub.utils.tqdm import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    verbosity, had_progress = logging.get_verbosity(), not are_progress_bars_disabled()
    logging.set_verbosity(ERROR)
    if had_progress and not progress:
        disable_progress_bars()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if had_progress:
            enable_progress_bars()


def _explain(error: Exception, address: Address) -> str:
    from huggingface_hub import constants, errors

    error = _find_cause(error)
    if isinstance(error, errors.OfflineModeIsEnabled):
        return "is not in the cache, and HF_HUB_OFFLINE=1 forbids to ask the hub; unset it"
    if isinstance(error, errors.LocalEntryNotFoundError):
        return f"is not in the cache, and the hub cannot be reached at {constants.ENDPOINT}; check the network"
    if isinstance(error, errors.GatedRepoError):
        return "its owner asks for consent first; give it on the page of the repository"
    if isinstance(error, errors.RevisionNotFoundError):
        return f"has no branch, tag or commit {address.revision!r}"
    if isinstance(error, errors.RemoteEntryNotFoundError):
        return f"holds no run that mmrun push sent (a file that it needs, such as {CONTENTS}, is missing)"
    if isinstance(error, errors.HfHubHTTPError):
        return _explain_status(error.response.status_code, error.server_message)
    if isinstance(error, OSError) and error.errno is not None:
        return f"{error.strerror} ({error.filename})"
    return f"the hub cannot be used ({type(error).__name__}: {summarize_error(error)[:MAX_REASON]})"


def _find_cause(error: Exception) -> Exception:
    """Return the answer of the hub, or what kept the library from asking it, which other errors wrap."""
    from huggingface_hub import errors

    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, errors.HfHubHTTPError | errors.OfflineModeIsEnabled):
            return cause
        cause = cause.__cause__
    return error


def _explain_status(status: int, message: str | None) -> str:
    reason = f" ({' '.join(message.split())[:MAX_REASON]})" if message else ""
    if status >= 500:
        return f"the hub is out of order{reason or f' (status {status})'}; repeat the command later"
    return REASONS.get(status, f"the hub refuses with status {status}") + reason
