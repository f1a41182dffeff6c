"""Which channels of a model can only go together, as torch-pruning traces them (Fang et al., 2023)."""

import warnings
from collections.abc import Callable, Iterator, Sequence
from types import ModuleType
from typing import Any, NamedTuple, cast

from torch import Tensor, nn

from mmrun.errors import ConfigError
from mmrun.installation import format_pip_command
from mmrun.models.compress.layers import BATCH_NORMS, CONVOLUTIONS

PRUNABLE = (*CONVOLUTIONS, nn.Linear, *BATCH_NORMS)

Forward = Callable[[], list[Tensor]]  # returns the outputs of a model for a few rows, the same rows in each call


class Member(NamedTuple):
    """Channels of a layer, as inputs or as outputs.

    Attributes:
        layer: convolution, linear layer or batch norm.
        is_input: whether they are inputs.
        channels: their numbers.
    """

    layer: nn.Module
    is_input: bool
    channels: list[int]

    @property
    def weight(self) -> nn.Parameter:
        """The weight of the layer; a batch norm without one has none to read."""
        return cast(nn.Parameter, self.layer.weight)


class Group:
    """Channels of several layers that can only go together.

    Args:
        members: the layers with weights; the first makes the channels.
        remove: removes the channels from all of them, in place.
    """

    def __init__(self, members: list[Member], remove: Callable[[], None]) -> None:
        self.members = members
        self.remove = remove


class Dependencies:
    """The dependencies between the channels of a model.

    Args:
        model: whose parameters all need gradients, as the graph is found from these.
        forward: runs it.

    Raises:
        ConfigError: torch-pruning is not installed.
    """

    def __init__(self, model: nn.Module, forward: Forward) -> None:
        self.pruning = _import_torch_pruning()
        self.model, self.forward = model, forward
        self._graph: Any = None

    def find_roots(self) -> list[nn.Module]:
        """Return a layer of each group that can become narrower; none where the model cannot be traced."""
        try:
            groups = list(self._trace().get_all_groups(root_module_types=[*CONVOLUTIONS, nn.Linear]))
        except Exception:  # it traces any code, and fails in any way
            return []
        return [group[0].dep.target.module for group in groups if self._is_known(group)]

    def find_group(self, root: nn.Module, channels: Sequence[int]) -> Group | None:
        """Return what has to go with some outputs of a layer; None where it cannot be traced.

        Args:
            root: the layer.
            channels: numbers of its outputs.
        """
        for trace in (self._get_graph, self._trace):  # a graph that was pruned may have lost track
            try:
                graph = trace()
                remove = graph.get_pruner_of_module(root).prune_out_channels
                group = graph.get_pruning_group(root, remove, list(channels))
            except Exception:  # it traces any code, and fails in any way
                continue
            return Group(list(self._iterate_members(group)), group.prune) if self._is_known(group) else None
        return None

    def _get_graph(self) -> Any:
        return self._trace() if self._graph is None else self._graph

    def _trace(self) -> Any:
        with warnings.catch_warnings(action="ignore"):  # parameters outside of layers are not pruned
            self._graph = self.pruning.DependencyGraph().build_dependency(
                self.model,
                example_inputs=(),
                forward_fn=lambda model, inputs: self.forward(),
                unwrapped_parameters=[],
                verbose=False,
            )
        return self._graph

    def _is_known(self, group: Any) -> bool:
        """Return whether all layers of a group can become narrower."""
        modules = [dependency.target.module for dependency, _ in group]
        return all(self._is_operation(module) or _can_become_narrower(module) for module in modules)

    def _is_operation(self, module: nn.Module) -> bool:
        """Return whether a node of the graph is an operation without weights: a sum, a reshape ..."""
        is_theirs = type(module).__module__.startswith(self.pruning.__name__)
        return is_theirs and not any(True for _ in module.parameters())

    def _iterate_members(self, group: Any) -> Iterator[Member]:
        inputs = (self.pruning.prune_conv_in_channels, self.pruning.prune_linear_in_channels)
        for dependency, channels in group:
            if not self._is_operation(dependency.target.module):
                yield Member(dependency.target.module, dependency.handler in inputs, list(channels))


def _can_become_narrower(module: nn.Module) -> bool:
    if isinstance(module, CONVOLUTIONS):
        return module.groups in (1, module.out_channels)
    return isinstance(module, PRUNABLE)


def _import_torch_pruning() -> ModuleType:
    try:
        import torch_pruning
    except ImportError:
        command = format_pip_command("install", "torch-pruning")
        raise ConfigError(f"prune_filters needs torch-pruning; {command}") from None
    module: ModuleType = torch_pruning
    return module
