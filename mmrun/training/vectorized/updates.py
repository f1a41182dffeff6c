"""The update of the parameters of all members after a step. Shapes: S members."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mmrun.training.vectorized.learner_stack import LearnerStack
from mmrun.training.vectorized.members import Member

# Optimizers that change each number of a parameter by its own gradient alone: stacked, they do the same
ELEMENTWISE: tuple[type[torch.optim.Optimizer], ...] = (
    torch.optim.Adadelta,
    torch.optim.Adagrad,
    torch.optim.Adam,
    torch.optim.Adamax,
    torch.optim.AdamW,
    torch.optim.NAdam,
    torch.optim.RAdam,
    torch.optim.RMSprop,
    torch.optim.SGD,
)


class StackedUpdate:
    """One optimizer updates the stacked parameters of all members, whose own optimizers get views of its state.

    Args:
        stack: of their learners.
        members: their optimizers are elementwise, and have equal options.
    """

    def __init__(self, stack: LearnerStack, members: Sequence[Member]) -> None:
        self.stack, self.members = stack, members
        names = _parameter_names(members[0])
        groups = []
        self.pairs: list[tuple[nn.Parameter, tuple[nn.Parameter, ...]]] = []  # stacked, of each member
        for number, group in enumerate(members[0].optimizer.param_groups):
            stacked = [stack.trained[names[id(parameter)]] for parameter in group["params"]]
            groups.append({**group, "params": stacked})
            member_parameters = [member.optimizer.param_groups[number]["params"] for member in members]
            self.pairs += zip(stacked, zip(*member_parameters, strict=True), strict=True)
        self.optimizer = type(members[0].optimizer)(groups)  # type: ignore[call-arg]
        self._gather_state()

    def step(self) -> None:
        """Update all parameters."""
        member = self.members[0]
        for group, member_group in zip(self.optimizer.param_groups, member.optimizer.param_groups, strict=True):
            group["lr"] = member_group["lr"]
        is_first = not self.optimizer.state
        self.optimizer.step()
        if is_first:
            self._spread_state()

    def _gather_state(self) -> None:
        """Stack the state that the members' optimizers have, if they have trained before."""
        for stacked, parameters in self.pairs:
            states = [member.optimizer.state.get(p, {}) for member, p in zip(self.members, parameters, strict=True)]
            for key, value in states[0].items():
                is_number = key == "step" or not isinstance(value, Tensor)
                values = [state[key] for state in states]
                self.optimizer.state[stacked][key] = _clone(value) if is_number else torch.stack(values)
        self._spread_state()

    def _spread_state(self) -> None:
        """Let the members' optimizers have views of the stacked state."""
        for stacked, parameters in self.pairs:
            for key, value in self.optimizer.state.get(stacked, {}).items():
                is_stacked = isinstance(value, Tensor) and value.shape == stacked.shape
                for number, (member, parameter) in enumerate(zip(self.members, parameters, strict=True)):
                    member.optimizer.state[parameter][key] = value[number] if is_stacked else value


class SeparateUpdates:
    """Each member's own optimizer updates its own parameters, which are views of the stacked ones.

    Args:
        stack: of their learners.
        members: any optimizers.
    """

    def __init__(self, stack: LearnerStack, members: Sequence[Member]) -> None:
        self.stack, self.members = stack, members
        self.parameters: dict[str, list[nn.Parameter]] = {name: [] for name in stack.trained}
        for member in members:
            learner_parameters = dict(member.learner.named_parameters())
            for name, parameters in self.parameters.items():
                parameters.append(learner_parameters[name])

    def step(self) -> None:
        """Update all parameters."""
        for name, stacked in self.stack.trained.items():
            gradients = [None] * len(self.members) if stacked.grad is None else stacked.grad
            for parameter, gradient in zip(self.parameters[name], gradients, strict=True):
                parameter.grad = gradient
        for member in self.members:
            member.optimizer.step()
            member.optimizer.zero_grad()


def build_update(stack: LearnerStack, members: Sequence[Member]) -> StackedUpdate | SeparateUpdates:
    """Return what updates the parameters of all members after each step, as their own optimizers would.

    Args:
        stack: of their learners.
        members: in the order of the stack.
    """
    options = [_options(member) for member in members]
    if type(members[0].optimizer) in ELEMENTWISE and all(member_options == options[0] for member_options in options):
        return StackedUpdate(stack, members)
    return SeparateUpdates(stack, members)


def _options(member: Member) -> list[object]:
    """Return what an update depends on beside gradients: schedule, and the options of each parameter group."""
    options: list[object] = [member.config.schedule, member.config.warmup, member.state.lr_scale]
    for group in member.optimizer.param_groups:
        options += [len(group["params"]), {key: group[key] for key in group if key not in ("params", "lr")}]
    return options


def _parameter_names(member: Member) -> dict[int, str]:
    return {id(parameter): name for name, parameter in member.learner.named_parameters()}


def _clone(value: object) -> object:
    return value.clone() if isinstance(value, Tensor) else value
