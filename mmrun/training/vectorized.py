"""Trains the learners of several runs as one: each step is a single computation on their stacked tensors.

Shapes: S learners; what they share has no dimension S.
"""

import math
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from functools import partial

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.func import functional_call, vmap

from mmrun.objectives.augment import Augment
from mmrun.objectives.step_state import StepState
from mmrun.training import checkpoint
from mmrun.training.callback import Callback
from mmrun.training.dry_run import no_side_effects
from mmrun.training.engine import Validate, evaluate, finished
from mmrun.training.learner import Learner
from mmrun.training.nan_guard import NanGuard
from mmrun.training.state import Batches, FitConfig, TrainState
from mmrun.training.vectorized_batches import map_tensors
from mmrun.training.vectorized_ops import StackedOperations
from mmrun.types import Batch, Objective

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
CACHE = 2**20  # bytes of a core's cache that the largest feature map of a learner may take
# Of losses and gradients, relative to the largest: sums are in another order than in a single run
TOLERANCE = 1e-3
ROUNDED_TOLERANCE = 0.2  # where products are rounded to TF32 or bf16, so that a unit may cross the kink of its ReLU

Losses = dict[str, Tensor]
LoadBatch = Callable[[Sequence[int], int], Batch]  # numbers of the learners, step -> [S, B, ...]


class NotStackableError(Exception):
    """Some learners cannot be computed as one; the text says why."""


@dataclass
class Member:
    """One of the runs that train together: what `engine.fit` is called with.

    Attributes:
        learner: bare, on the device.
        batches: of this run alone.
        optimizer: of this run alone; its state is a view of the stacked one.
        config: how long and how to train.
        state: where to start; updated in place.
        validate: returns the monitored value and all validation metrics.
        callback: of this run.
        guard: decides what happens where a loss is not finite.
        error: what ended the training of this run before the others.
        losses: of the last step, scalars.
    """

    learner: Learner
    batches: Batches
    optimizer: torch.optim.Optimizer
    config: FitConfig
    state: TrainState
    validate: Validate
    callback: Callback
    guard: NanGuard
    error: Exception | None = None
    losses: Losses = field(default_factory=dict)

    @property
    def trains(self) -> bool:
        """Whether there is another step to take."""
        return self.error is None and not finished(self.config, self.state)


class LearnerStack:
    """Learners of one architecture as one. Their parameters and buffers become views of stacked tensors.

    What is frozen and equal in all of them is computed with once.

    Args:
        learners: S of them, in training mode.
        collected: names of the buffers that change in a training step.
    """

    def __init__(self, learners: Sequence[Learner], collected: Collection[str]) -> None:
        self.learners = list(learners)
        self.trained: dict[str, nn.Parameter] = {}  # [S, ...]
        self.fixed: dict[str, Tensor] = {}  # [S, ...]; what is shared stays in the learners
        tensors = [dict([*learner.named_parameters(), *learner.named_buffers()]) for learner in learners]
        for name, first in tensors[0].items():
            of_name = [of_learner[name] for of_learner in tensors]
            if first.requires_grad:
                self.trained[name] = nn.Parameter(_stack_views(of_name))
            elif name in collected or not _may_share(name, of_name):
                self.fixed[name] = _stack_views(of_name)
        self._places = _list_places(self.learners[0], [*self.trained, *self.fixed])
        self._compute = vmap(self._compute_one, randomness="different")

    def compute_losses(self, batch: Batch) -> Losses:
        """Return the losses of all learners, each on its own batch, [S] by name.

        Args:
            batch: [S, B, ...]; it has no weights.
        """
        with StackedOperations():
            losses: Losses = self._compute([*self.trained.values(), *self.fixed.values()], batch[:4])
        return {name: loss.float() for name, loss in losses.items()}

    def _compute_one(self, tensors: list[Tensor], fields: tuple[object, ...]) -> Losses:
        by_name = {name: tensors[number] for name, number in self._places.items()}
        batch = Batch(*fields)  # type: ignore[arg-type]
        losses: Losses = functional_call(self.learners[0], by_name, (batch,), tie_weights=False)
        return losses

    def clip(self, max_norms: Tensor | None) -> None:
        """Clip the gradients of each learner to its own norm.

        Args:
            max_norms: [S], on the device; None: no gradients are clipped.
        """
        gradients = [parameter.grad for parameter in self.trained.values() if parameter.grad is not None]
        if max_norms is None or not gradients:
            return
        norms = torch.stack([torch.linalg.vector_norm(grad.flatten(1), dim=1) for grad in gradients]).norm(dim=0)
        factors = (max_norms / (norms + 1e-6)).clamp(max=1.0)
        for gradient in gradients:
            gradient.mul_(factors.view(-1, *[1] * (gradient.dim() - 1)))

    def zero_grad(self) -> None:
        """Drop all gradients."""
        for parameter in self.trained.values():
            parameter.grad = None


def _stack_views(tensors: Sequence[Tensor]) -> Tensor:
    """Stack tensors, and let each of them be a view of the stack."""
    stacked = torch.stack([tensor.detach() for tensor in tensors])
    for tensor, view in zip(tensors, stacked, strict=True):
        tensor.data = view
    return stacked


def _list_places(learner: Learner, names: Sequence[str]) -> dict[str, int]:
    """Return where tensors stand in a learner, tied ones at several places; `functional_call` would search each step.

    Args:
        learner: has the tensors.
        names: of tensors, each under its first name.

    Returns:
        By name, also under later names, the position in `names`.
    """
    tensors = dict([*learner.named_parameters(), *learner.named_buffers()])
    numbers = {id(tensors[name]): number for number, name in enumerate(names)}
    places = [*learner.named_parameters(remove_duplicate=False), *learner.named_buffers(remove_duplicate=False)]
    return {name: numbers[id(tensor)] for name, tensor in places if id(tensor) in numbers}


def _may_share(name: str, tensors: Sequence[Tensor]) -> bool:
    """Return whether a tensor that is not trained is the same in all learners; that of an objective may yet move."""
    return name.startswith("model.") and all(torch.equal(tensors[0], tensor) for tensor in tensors[1:])


# ---------------------------------------------------------------------------------------------- what can be stacked


def find_collected(learners: Sequence[Learner], batch: Batch, tolerance: float = TOLERANCE) -> set[str]:
    """Try a step of a stack of learners, and return the names of the buffers that it changes. Nothing else changes.

    Where a step draws no random numbers, losses and gradients must be those of each learner alone; a step that draws
    some is compared in evaluation mode, if it draws none there.

    Args:
        learners: S of them, in training mode.
        batch: [S, B, ...].
        tolerance: of losses and gradients, relative to the largest.

    Raises:
        NotStackableError: they cannot be computed as one.
        torch.OutOfMemoryError: memory does not hold a step of so many, with the state of their optimizers.
    """
    first = learners[0]
    _check_objective(first)
    alone = _try_alone(first, select_member(batch, 0))
    stack = LearnerStack(learners, alone.collected)
    _compare(alone, stack, batch, tolerance)
    if alone.is_random:
        first.eval()
        _compare(_try_alone(first, select_member(batch, 0)), stack, batch, tolerance)
        first.train()
    return alone.collected


def choose_size(module: nn.Module, batch: Batch, number: int) -> int:
    """Return how many learners to train at a time, so that a step of each takes the least time.

    Small layers gain from being computed together, the more the better. On a CPU, feature maps of convolutions do not
    fit into its cache together, unless they are small.

    Args:
        module: one of them, or its model.
        batch: of this one.
        number: of learners.
    """
    sizes: list[int] = []

    def note_size(convolution: nn.Module, inputs: object, output: Tensor) -> None:
        sizes.append(output.numel() * output.element_size())

    convolutions = [part for part in module.modules() if isinstance(part, nn.Conv2d | nn.Conv3d)]
    hooks = [convolution.register_forward_hook(note_size) for convolution in convolutions]
    with no_side_effects(module, batch.index.device), torch.no_grad():
        module(batch)
    for hook in hooks:
        hook.remove()
    if not sizes or batch.index.device.type != "cpu":
        return number
    return min(number, 2) if max(sizes) <= CACHE else 1


def _check_objective(learner: Learner) -> None:
    """Reject an objective whose gradients are not those of its loss, or that keeps what a step has collected."""
    for part in learner.objective.modules():
        if isinstance(part, Objective) and type(part).backward not in (Objective.backward, Augment.backward):
            raise NotStackableError(f"{type(part).__name__} computes its gradients itself")
        if isinstance(part, StepState):
            raise NotStackableError(f"{type(learner.objective).__name__} collects values during a step")


@dataclass(frozen=True)
class _Trial:
    """A step of one learner: its losses, its gradients by parameter, the buffers that it changed."""

    losses: Losses
    gradients: dict[str, Tensor]
    collected: set[str]
    is_random: bool


def _try_alone(learner: Learner, batch: Batch) -> _Trial:
    before = {name: buffer.clone() for name, buffer in learner.named_buffers()}
    with no_side_effects(learner, batch.index.device):
        random_state = _random_state(batch.index.device)
        losses = learner(batch)
        losses["loss"].backward()
        is_random = not torch.equal(random_state, _random_state(batch.index.device))
        gradients = {name: p.grad for name, p in learner.named_parameters() if p.grad is not None}
        collected = {name for name, buffer in learner.named_buffers() if not torch.equal(buffer, before[name])}
    return _Trial({name: loss.detach().float() for name, loss in losses.items()}, gradients, collected, is_random)


def _compare(alone: _Trial, stack: LearnerStack, batch: Batch, tolerance: float) -> None:
    """Try a step of the stack; where no random numbers are drawn, compare it with that of the first learner alone."""
    collected = {name: tensor.clone() for name, tensor in stack.fixed.items() if name in alone.collected}
    try:
        optimizer_state = [torch.empty_like(p) for p in stack.trained.values() for _ in range(2)]  # of AdamW
        with no_side_effects(stack.learners[0], batch.index.device):
            losses = stack.compute_losses(batch)
            losses["loss"].sum().backward()
        del optimizer_state
    except torch.OutOfMemoryError:
        raise
    except (RuntimeError, ValueError, TypeError, NotImplementedError) as error:
        raise NotStackableError(str(error).strip().partition("\n")[0]) from None
    finally:
        for name, tensor in collected.items():
            stack.fixed[name].copy_(tensor)
    stacked = {name: parameter.grad[0] for name, parameter in stack.trained.items() if parameter.grad is not None}
    stack.zero_grad()
    if alone.is_random:
        return
    first = {name: loss[0].detach() for name, loss in losses.items()}
    if not (_are_close(alone.losses, first, tolerance) and _are_close(alone.gradients, stacked, tolerance)):
        raise NotStackableError("losses or gradients differ from those of a single run")


def _are_close(expected: dict[str, Tensor], actual: dict[str, Tensor], tolerance: float) -> bool:
    """Return whether tensors are equal up to rounding, relative to the largest number in them."""
    expected = {name: tensor for name, tensor in expected.items() if tensor.numel() > 0}
    if not expected.keys() <= actual.keys():
        return False
    largest = max((tensor.abs().max().item() for tensor in expected.values()), default=0.0)
    differences = [(tensor - actual[name]).abs().max().item() for name, tensor in expected.items()]
    return all(difference <= tolerance * largest for difference in differences)


def _random_state(device: torch.device) -> Tensor:
    return torch.cat(list(checkpoint.random_state(device).values()))


def select_member(batch: Batch, number: int) -> Batch:
    """Return the batch of one member.

    Args:
        batch: [S, B, ...].
        number: of the member, from 0.
    """
    return map_tensors(lambda tensor: tensor[number], batch)


# ---------------------------------------------------------------------------------------------- the update


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
            own = [member.optimizer.param_groups[number]["params"] for member in members]
            self.pairs += zip(stacked, zip(*own, strict=True), strict=True)
        self.optimizer = type(members[0].optimizer)(groups)  # type: ignore[call-arg]
        self._gather_state()

    def step(self) -> None:
        """Update all parameters."""
        member = self.members[0]
        for group, own in zip(self.optimizer.param_groups, member.optimizer.param_groups, strict=True):
            group["lr"] = own["lr"]
        is_first = not self.optimizer.state
        self.optimizer.step()
        if is_first:
            self._spread_state()

    def _gather_state(self) -> None:
        """Stack the state that the members' optimizers have, if they have trained before."""
        for stacked, own in self.pairs:
            states = [member.optimizer.state.get(p, {}) for member, p in zip(self.members, own, strict=True)]
            for key, value in states[0].items():
                is_number = key == "step" or not isinstance(value, Tensor)
                values = [state[key] for state in states]
                self.optimizer.state[stacked][key] = _clone(value) if is_number else torch.stack(values)
        self._spread_state()

    def _spread_state(self) -> None:
        """Let the members' optimizers have views of the stacked state."""
        for stacked, own in self.pairs:
            for key, value in self.optimizer.state.get(stacked, {}).items():
                is_stacked = isinstance(value, Tensor) and value.shape == stacked.shape
                for number, (member, parameter) in enumerate(zip(self.members, own, strict=True)):
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
            of_learner = dict(member.learner.named_parameters())
            for name, parameters in self.parameters.items():
                parameters.append(of_learner[name])

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
    if type(members[0].optimizer) in ELEMENTWISE and all(of_member == options[0] for of_member in options):
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


def _stack_max_norms(members: Sequence[Member], device: torch.device) -> Tensor | None:
    """Return the norm that the gradients of each member are clipped to, [S]; None: no gradients are clipped."""
    max_norms = [member.config.max_grad_norm for member in members]
    if all(norm is None for norm in max_norms):
        return None
    return torch.tensor([math.inf if norm is None else norm for norm in max_norms], device=device)


class StackedGuard:
    """Looks at the losses of all members at once; their gradients touch no other member.

    As in `NanGuard`, losses are read at once on a CPU. On a GPU, the first step whose loss is not finite is noted
    there, where each member's guard reads it before the member is evaluated or saved.

    Args:
        members: their guards get views of one tensor.
    """

    def __init__(self, members: Sequence[Member]) -> None:
        self.members = members
        self.reads_at_once = members[0].guard.reads_at_once
        self.first_steps = torch.stack([member.guard.first_step for member in members])
        for member, first_step in zip(members, self.first_steps, strict=True):
            member.guard.first_step = first_step

    def look(self, batch: Batch, loss: Tensor, losses: Sequence[Losses]) -> None:
        """Store the error of each member whose loss is not finite, or note the step.

        Args:
            batch: [S, B, ...].
            loss: of all members, [S].
            losses: of each member, all of them.
        """
        is_finite = torch.isfinite(loss)
        if not self.reads_at_once:
            bad_steps = torch.where(is_finite, math.inf, float(self.members[0].state.step))
            torch.minimum(self.first_steps, bad_steps, out=self.first_steps)
            return
        if is_finite.all():
            return
        for number in (~is_finite).nonzero().flatten().tolist():
            member = self.members[number]
            try:
                member.guard.accepts(member.state.step, select_member(batch, number), losses[number])
            except Exception as error:
                member.error = error


# ---------------------------------------------------------------------------------------------- the loop


def fit_together(
    members: Sequence[Member],
    load_batch: LoadBatch,
    collected: Collection[str],
    accelerator: Accelerator,
    on_step_end: Callable[[], None],
) -> None:
    """Train members, all at the same step, until the budget of each is spent, or a callback or an error ends it.

    A member that ends leaves the stack; an error that concerns one member is stored in it.

    Args:
        members: S of them.
        load_batch: returns the batches of some members at a step.
        collected: names of the buffers that a step changes, from `find_collected`.
        accelerator: precision and device.
        on_step_end: is called when all members have taken a step, and those whose turn it is have saved it.
    """
    training = [member for member in members if member.trains]
    while training:
        stack = LearnerStack([member.learner for member in training], collected)
        update = build_update(stack, training)
        guard = StackedGuard(training)
        max_norms = _stack_max_norms(training, accelerator.device)
        numbers = [number for number, member in enumerate(members) if member in training]
        while all(member.trains for member in training):
            _step_together(training, stack, update, guard, max_norms, partial(load_batch, numbers))
            for member in training:
                _follow_up(member, accelerator)
            on_step_end()
        training = [member for member in training if member.trains]


def _step_together(
    members: Sequence[Member],
    stack: LearnerStack,
    update: StackedUpdate | SeparateUpdates,
    guard: StackedGuard,
    max_norms: Tensor | None,
    load_batch: Callable[[int], Batch],
) -> None:
    """Take one step of all members; each is charged an equal share of the time."""
    began = time.perf_counter()
    for member in members:
        progress = member.config.budget.spent(member.state.step, member.state.seconds)
        member.learner.on_step_start(progress)
        factor = member.config.lr_factor(progress) * member.state.lr_scale
        for group in member.optimizer.param_groups:
            group["lr"] = group["base_lr"] * factor
    batch = load_batch(members[0].state.step)
    losses = stack.compute_losses(batch)
    losses["loss"].sum().backward()
    of_members = split_losses(losses)
    guard.look(batch, losses["loss"].detach(), of_members)
    stack.clip(max_norms)
    update.step()
    stack.zero_grad()
    seconds = (time.perf_counter() - began) / len(members)
    for member, member_losses in zip(members, of_members, strict=True):
        if member.error is None:
            member.learner.on_step_end()
            member.losses = member_losses
            member.state.losses.add(member_losses)
            member.state.step += 1
            member.state.seconds += seconds


def _follow_up(member: Member, accelerator: Accelerator) -> None:
    """Call a member's callbacks after a step, and evaluate it where that is due."""
    if member.error is not None:
        return
    config, state = member.config, member.state
    try:
        member.callback.on_step_end(state, member.losses)
        if state.step % config.evaluate_every == 0 or config.budget.spent(state.step, state.seconds) >= 1:
            member.guard.check(member.batches)
            evaluate(member.learner, config, state, accelerator, member.validate, member.callback)
        member.callback.on_checkpoint(state)
    except Exception as error:  # the other members go on
        member.error = error


def split_losses(losses: Losses) -> list[Losses]:
    """Return the losses of each member, scalars.

    Args:
        losses: [S] by name.
    """
    by_name = {name: loss.detach().unbind() for name, loss in losses.items()}
    return [dict(zip(by_name, scalars, strict=True)) for scalars in zip(*by_name.values(), strict=True)]
