"""Learn from new pairings: a modality of a row is exchanged for that of another row of the same class."""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from mmrun.data.visible import is_visible
from mmrun.errors import ConfigError
from mmrun.models.multimodal import Multimodal
from mmrun.objectives.synthetic_rows import SyntheticRows
from mmrun.objectives.task import choose_modalities
from mmrun.tasks.regression import Regression
from mmrun.types import Batch, Input, Objective
from mmrun.types import Task as AnyTask
from mmrun.values import Share


class ModalityShuffle(Objective):
    """The objective `task` on rows whose modalities are shuffled within a class.

    It helps where modalities are independent given the class, so that every pairing is a plausible row: this is how
    MNIST-SVHN was paired (Shi et al., 2019). It destroys what only true pairs carry, such as synergy.

    Of each modality, the rows drawn with `probability` are permuted among those with the same targets of all tasks, in
    the same micro-batch; whether a row has the modality moves with it. Rows with a hidden target stay as they are, and
    so do all rows of validation.

    Args:
        task: builds the supervised objective.
        tasks: the tasks by name.
        kinds: the modalities that the stage reads.
        probability: that a modality of a row takes part.
        modalities: those to shuffle; None: all.

    Raises:
        ConfigError: the stage reads a single modality or does not read one of `modalities`, or no task has classes.
    """

    def __init__(
        self,
        task: Callable[..., Objective],
        tasks: Mapping[str, AnyTask],
        kinds: Mapping[str, str],
        probability: Share = 0.5,
        modalities: Sequence[str] | None = None,
    ) -> None:
        super().__init__()
        if len(kinds) < 2:
            names = ", ".join(kinds)
            raise ConfigError(f"objective: modality_shuffle needs two modalities, and the stage reads {names}")
        if all(isinstance(goal, Regression) for goal in tasks.values()):
            raise ConfigError(
                f"objective: modality_shuffle needs classes, and {', '.join(tasks)} is a regression; choose mixup"
            )
        self.task = task(tasks=tasks, kinds=kinds)
        self.needs_targets = self.task.needs_targets
        self.returns_task_losses = self.task.returns_task_losses
        self.modalities = choose_modalities(modalities, kinds)
        self.probability = probability
        self.synthetic = SyntheticRows()

    def prepare(self, batch: Batch) -> Batch:
        """Exchange modalities; see `Objective.prepare`."""
        group = group_equal_targets(batch.targets)
        sources, inputs, present = [], dict(batch.inputs), dict(batch.present)
        for modality in present:
            source = torch.arange(len(group), device=group.device)
            if modality in self.modalities:
                source = shuffle_within(group, torch.rand(len(group), device=group.device) < self.probability)
                inputs[modality] = _take(batch.inputs[modality], source)
                present[modality] = batch.present[modality][source]
            sources.append(batch.index[source].where(present[modality], -1))
        stacked = torch.stack(sources)  # [M, B], -1 where missing
        highest = stacked.amax(0)
        self.synthetic.add(((stacked != highest) & (stacked >= 0)).any(0))
        return batch._replace(inputs=inputs, present=present)

    def forward(self, model: Multimodal, batch: Batch) -> dict[str, Tensor]:
        """Return the losses of the wrapped objective.

        Args:
            model: to be trained.
            batch: inputs and targets.
        """
        if self.training and batch.weights is None:
            batch = self.prepare(batch)
        losses: dict[str, Tensor] = self.task(model, batch)
        return losses

    def on_step_end(self, model: nn.Module) -> None:
        """Count the rows with a modality of another row."""
        self.synthetic.end_step()


def group_equal_targets(targets: Mapping[str, Tensor]) -> Tensor:
    """Return the number of the first row that has the same targets of all tasks; a row with a hidden one is alone.

    Args:
        targets: by task, [B] or [B, C].

    Returns:
        [B] int64.
    """
    columns = [target.view(len(target), -1) for target in targets.values()]
    visible = torch.cat([is_visible(column) for column in columns], 1).all(1)  # [B]
    values = torch.cat([column.double() for column in columns], 1).nan_to_num()
    equal = (torch.cdist(values, values, p=0) == 0) & visible[:, None] & visible
    return (equal | torch.eye(len(values), dtype=torch.bool, device=values.device)).int().argmax(1)


def shuffle_within(group: Tensor, takes_part: Tensor) -> Tensor:
    """Return a random permutation of the rows that take part, within their groups; the others stay in their places.

    Args:
        group: of each row, below the number of rows, [B] int64.
        takes_part: [B] bool.

    Returns:
        The row whose content moves to each row, [B] int64.
    """
    rows = torch.arange(len(group), device=group.device)
    group = torch.where(takes_part, group, len(group) + rows)
    places = group.argsort(stable=True)  # each group in order
    shuffled = torch.rand(len(group), device=group.device).argsort()
    contents = shuffled[group[shuffled].argsort(stable=True)]  # each group in random order
    return torch.empty_like(rows).scatter_(0, places, contents)


def _take(x: Input, rows: Tensor) -> Input:
    return x[rows] if isinstance(x, Tensor) else {name: part[rows] for name, part in x.items()}
