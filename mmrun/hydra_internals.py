"""What mmrun needs of Hydra beyond its public interface. No other file imports hydra._internal."""

import functools
import io
import math
import os
import pickle
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

from hydra import version
from hydra._internal.callbacks import Callbacks
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_repository import CachingConfigRepository, IConfigRepository
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra._internal.defaults_list import create_defaults_list
from hydra._internal.hydra import Hydra
from hydra._internal.utils import create_config_search_path
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.config_store import ConfigStore
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, Override, RangeSweep
from hydra.core.plugins import Plugins
from hydra.plugins.config_source import ConfigResult
from hydra.plugins.launcher import Launcher
from hydra.plugins.search_path_plugin import SearchPathPlugin
from hydra.types import HydraContext, RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from mmrun.errors import ConfigError, nearest
from mmrun.values import format_value

HYDRA_VERSIONS = ("1.3.2", "1.3.4", "1.3.8")  # other 1.3 releases should do as well


class UserConfigs(SearchPathPlugin):
    """Puts the user's config folders before the shipped one, so that a file of the same name replaces it."""

    folders: ClassVar[list[Path]] = []

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Prepend the folders; the first is searched first."""
        for folder in reversed(self.folders):
            search_path.prepend("user", f"file://{folder}")


def register(schema: type) -> None:
    """Make Hydra search the user's config folders, and store the schema of `train.yaml`; twice does no harm."""
    version.setbase("1.3")
    if UserConfigs not in Plugins.instance().discover(SearchPathPlugin):
        Plugins.instance().register(UserConfigs)
    ConfigStore.instance().store("schema", schema)


T = TypeVar("T")


class Original(Generic[T]):
    """Something to copy often: bytes of its own are read again, in a sixth of the time of a deep copy.

    Classes that are in no module, as those of the schema, are not copied.

    Args:
        value: of which copies are made.
    """

    def __init__(self, value: T) -> None:
        buffer = io.BytesIO()
        pickler = _Pickler(buffer)
        pickler.dump(value)
        self._bytes, self._classes = buffer.getvalue(), pickler.classes

    def copy(self) -> T:
        """Return a copy of the value."""
        copied: T = _Unpickler(self._bytes, self._classes).load()
        return copied


class _Pickler(pickle.Pickler):
    def __init__(self, buffer: io.BytesIO) -> None:
        super().__init__(buffer, pickle.HIGHEST_PROTOCOL)
        self.classes: list[type] = []

    def persistent_id(self, obj: object) -> int | None:
        """Return the place of a class that is in no module among the classes."""
        if not isinstance(obj, type) or hasattr(sys.modules.get(obj.__module__), obj.__name__):
            return None
        if obj not in self.classes:
            self.classes.append(obj)
        return self.classes.index(obj)


class _Unpickler(pickle.Unpickler):
    def __init__(self, content: bytes, classes: list[type]) -> None:
        super().__init__(io.BytesIO(content))
        self.classes = classes

    def persistent_load(self, pid: int) -> type:
        """Return a class by its place."""
        return self.classes[pid]


class Repository(CachingConfigRepository):
    """Keeps every parsed YAML file; whoever loads one gets a copy, since Hydra changes what it composes."""

    def __init__(self, delegate: IConfigRepository) -> None:
        super().__init__(delegate)
        self._files: dict[str, Original[ConfigResult | None]] = {}
        self._options: dict[tuple[str, ObjectType | None], list[str]] = {}

    def load_config(self, config_path: str) -> ConfigResult | None:
        """Return the content of a file, or None if there is no such file."""
        if config_path not in self._files:
            self._files[config_path] = Original(super().load_config(config_path))
        return self._files[config_path].copy()

    def get_group_options(self, group_name: str, results_filter: ObjectType | None = ObjectType.CONFIG) -> list[str]:
        """Return the names of a group's files, listed once."""
        key = (group_name, results_filter)
        if key not in self._options:
            self._options[key] = super().get_group_options(group_name, results_filter)
        return self._options[key]


# What is parsed and composed is kept for as long as no YAML file changes: the path, time and size of every file.
Files = tuple[tuple[str, int, int], ...]


def compose(name: str, overrides: Sequence[str], config_dir: Path) -> tuple[DictConfig, dict[str, str]]:
    """Compose a YAML file with its defaults and overrides, as `hydra.compose` does, but without the node `hydra`.

    Overrides that choose files decide what is read. All other overrides change values of a copy of that, so composing
    the next run of a sweep, which chooses the same files, takes a few milliseconds.

    Args:
        name: of the file, without suffix.
        overrides: in Hydra's grammar, without several values.
        config_dir: the shipped folder.

    Returns:
        The composed config, and the file chosen for each group.

    Raises:
        HydraException, OmegaConfBaseException: an override or a file does not fit.
    """
    files = _list_files([*UserConfigs.folders, config_dir])
    parsed = [parse(override) for override in overrides]
    repository = _open_repository(config_dir, files)
    choosing: list[Override] = []  # files
    changing: list[Override] = []  # values
    for override in parsed:
        chooses = repository.group_exists(override.key_or_group) and not isinstance(override.value(), dict)
        if chooses:
            _check_choice(override, repository)
        (choosing if chooses else changing).append(override)
    chosen = tuple(str(override.input_line) for override in choosing)
    original, choices = _compose_files(name, chosen, config_dir, files)
    config = original.copy()
    for override in changing:
        try:
            ConfigLoaderImpl._apply_overrides_to_config([override], config)
        except (ValueError, TypeError, LookupError, AttributeError, AssertionError) as error:
            if isinstance(error, OmegaConfBaseException):
                raise
            raise ConfigError(f"{override.input_line}: there is no such key ({error})") from error
    return config, dict(choices)


def _check_choice(override: Override, repository: Repository) -> None:
    """Reject what is not the name of a file of the group; only callbacks may be a list of names."""
    if override.is_delete():
        return
    group, value = override.key_or_group, override.value()
    key = override.package or group
    names = list(value) if isinstance(value, list) else [value]
    if isinstance(value, list) and group != "callbacks":
        raise ConfigError(f"{key}: {format_value(names)} is a list, not the name of one option")
    options = repository.get_group_options(group)
    for name in names:
        if name not in options:
            shown = name if isinstance(name, str) else format_value(name)
            hint = f"{nearest(str(name), options)} (there are {', '.join(options)})"
            hint += ", and no file or folder is called so" if group == "dataset" else ""
            raise ConfigError(f"{key}: no option '{shown}'{hint}")


@functools.lru_cache(maxsize=32)
def _compose_files(
    name: str, overrides: tuple[str, ...], config_dir: Path, files: Files
) -> tuple[Original[DictConfig], dict[str, str]]:
    """Compose files."""
    repository = _open_repository(config_dir, files)
    parsed = [parse(override) for override in overrides]
    defaults = create_defaults_list(repository, name, parsed, prepend_hydra=False, skip_missing=False)
    loader = ConfigLoaderImpl(_search_path(config_dir))
    config = loader._compose_config_from_defaults_list(defaults.defaults, repository)
    OmegaConf.set_struct(config, True)  # a new key needs a +
    choices = {group: choice for group, choice in defaults.overrides.known_choices.items() if isinstance(choice, str)}
    return Original(config), choices


@functools.lru_cache(maxsize=2)
def _open_repository(config_dir: Path, files: Files) -> Repository:
    return Repository(ConfigLoaderImpl(_search_path(config_dir)).repository)


def _search_path(config_dir: Path) -> ConfigSearchPath:
    return create_config_search_path(str(config_dir))


def _list_files(folders: Iterable[Path]) -> Files:
    """List the YAML files below some folders, with what tells that one has changed."""
    files = []
    for folder in folders:
        for parent, _, names in os.walk(folder):
            for name in names:
                if name.endswith(".yaml"):
                    path = os.path.join(parent, name)
                    status = os.stat(path)
                    files.append((path, status.st_mtime_ns, status.st_size))
    return tuple(files)


@functools.lru_cache(maxsize=1024)
def parse(override: str) -> Override:
    """Parse one override."""
    return OverridesParser.create().parse_overrides([override])[0]


def count_values(override: str) -> int:
    """Return how many values an override lists: 3 for seed=0,1,2 or seed=range(3)."""
    parsed = parse(override)
    value = parsed.value()
    if isinstance(value, RangeSweep):
        start, stop = value.start or 0, value.stop or 0
        count = (stop - start) / value.step if value.step else 0.0
        return max(0, math.ceil(count)) if math.isfinite(count) else sys.maxsize
    if isinstance(value, ChoiceSweep):
        return len(value.list)
    return 1


def split_sweep(overrides: Sequence[str]) -> list[list[str]]:
    """Return the overrides of each run of a sweep: seed=0,1 fusion=sum,mean -> four lists."""
    parsed = OverridesParser.create().parse_overrides(list(overrides))
    batches = BasicSweeper.split_arguments(parsed, max_batch_size=None)
    return [list(run) for batch in batches for run in batch]


def build_launcher(node: dict[str, Any], overrides: Sequence[str], function: Callable[[DictConfig], Any]) -> Launcher:
    """Build the launcher that overrides choose.

    Args:
        node: the config that each job gets.
        overrides: `hydra/launcher=NAME`, `hydra.launcher.KEY=VALUE`.
        function: runs one job.

    Returns:
        The launcher.
    """
    ConfigStore.instance().store("mmrun_sweep", node)
    loader = ConfigLoaderImpl(create_config_search_path(None))
    config = Hydra("mmrun", loader).compose_config("mmrun_sweep", list(overrides), RunMode.MULTIRUN)
    return Plugins.instance().instantiate_launcher(
        hydra_context=HydraContext(loader, Callbacks()), task_function=function, config=config
    )
