"""What mmrun needs of Hydra beyond its public interface. No other file imports hydra._internal."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

from hydra._internal.callbacks import Callbacks
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra._internal.hydra import Hydra
from hydra._internal.utils import create_config_search_path
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
from hydra.plugins.search_path_plugin import SearchPathPlugin
from hydra.types import HydraContext, RunMode
from omegaconf import DictConfig

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
    if UserConfigs not in Plugins.instance().discover(SearchPathPlugin):
        Plugins.instance().register(UserConfigs)
    ConfigStore.instance().store("schema", schema)


def split_sweep(overrides: Sequence[str]) -> list[list[str]]:
    """Return the overrides of each run of a sweep: seed=0,1 fusion=sum,mean -> four lists."""
    parsed = OverridesParser.create().parse_overrides(list(overrides))
    batches = BasicSweeper.split_arguments(parsed, max_batch_size=None)
    return [list(run) for batch in batches for run in batch]


def build_launcher(
    node: dict[str, Any], overrides: Sequence[str], function: Callable[[DictConfig], Any]
) -> tuple[Launcher, str]:
    """Build the launcher that overrides choose.

    Args:
        node: the config that each job gets.
        overrides: `hydra/launcher=NAME`, `hydra.launcher.KEY=VALUE`.
        function: runs one job.

    Returns:
        The launcher, and its name.
    """
    ConfigStore.instance().store("mmrun_sweep", node)
    loader = ConfigLoaderImpl(create_config_search_path(None))
    config = Hydra("mmrun", loader).compose_config("mmrun_sweep", list(overrides), RunMode.MULTIRUN)
    launcher = Plugins.instance().instantiate_launcher(
        hydra_context=HydraContext(loader, Callbacks()), task_function=function, config=config
    )
    name: str = config.hydra.runtime.choices["hydra/launcher"]
    return launcher, name
