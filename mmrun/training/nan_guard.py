"""What happens when a loss is not finite: the run stops, the step is skipped, or training goes back and slows down."""

import math
from collections.abc import Callable, Iterator, Sequence

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from torch import Tensor, nn

from mmrun.errors import RunError
from mmrun.training.dry_run import no_side_effects
from mmrun.training.learner import Learner
from mmrun.training.state import Batches
from mmrun.types import Batch

MAX_SKIPPED = 10  # steps in a row; the weights are then past rescue
MAX_NAMED = 5  # rows that a message names


class NonFiniteLossError(RunError):
    """A training loss is infinite or not a number."""


class NanGuard:
    """Looks at the loss of each step before the weights are updated.

    On a CPU, and where the step may be skipped, the loss is read at once. On a GPU reading would wait for the device,
    so the first step whose loss is not finite is only noted there, and read before anything is evaluated or saved.

    Args:
        learner: whose loss it is.
        accelerator: devices and processes.
        policy: stop | skip | rollback; the latter raises as `stop` does, for the caller to go back.
        ids: names of the rows of the data set; None: their numbers.
        on_message: is called with a line for each step that is skipped.
    """

    def __init__(
        self,
        learner: nn.Module,
        accelerator: Accelerator,
        policy: str = "stop",
        ids: Sequence[str] | None = None,
        on_message: Callable[[str], None] = print,
    ) -> None:
        self.learner: Learner = accelerator.unwrap_model(learner)
        self.accelerator, self.policy, self.ids, self.on_message = accelerator, policy, ids, on_message
        self.reads_at_once = policy == "skip" or accelerator.device.type == "cpu"
        self.first_step = torch.full((), math.inf, device=accelerator.device)  # whose loss is not finite
        self.skipped_in_a_row = 0

    def accepts(self, step: int, batch: Batch, losses: dict[str, Tensor]) -> bool:
        """Return whether the weights may be updated with the gradients of a step.

        Args:
            step: from 0.
            batch: of that step.
            losses: its losses, on the device.

        Raises:
            NonFiniteLossError: the loss is not finite, and the policy is not to skip such steps, or too many were.
        """
        loss = losses["loss"].detach().float()
        if not self.reads_at_once:
            bad_step = torch.where(torch.isfinite(loss), math.inf, float(step))
            self.first_step = torch.minimum(self.first_step, bad_step)
            return True
        is_bad = not math.isfinite(loss.item())
        if self.policy != "stop" and self.accelerator.scaler is None:  # fp16 has a scaler that looks for that itself
            is_bad = is_bad or self._has_bad_gradient()
        if self.accelerator.num_processes > 1:
            is_bad = self.accelerator.reduce(torch.tensor(float(is_bad), device=loss.device)).item() > 0
        if not is_bad:
            self.skipped_in_a_row = 0
            return True
        reason = self._explain(step, batch, loss.item())
        if self.policy != "skip":
            raise NonFiniteLossError(f"{reason}; lower the learning rate, or set trainer.on_nan=skip or rollback")
        self.skipped_in_a_row += 1
        if self.skipped_in_a_row == MAX_SKIPPED:
            raise NonFiniteLossError(f"{reason}; {MAX_SKIPPED} steps in a row were skipped: lower the learning rate")
        self.on_message(f"{reason}; the step is skipped")
        return False

    def check(self, batches: Batches) -> None:
        """Raise the error that a GPU could not raise at once.

        Args:
            batches: to read the batch of the step again.

        Raises:
            NonFiniteLossError: the loss of a step since the last call is not finite.
        """
        step = self.accelerator.gather(self.first_step).min().item()
        if math.isfinite(step):
            loss = math.nan if self.first_step.item() == step else 0.0  # of this process
            self.first_step.fill_(math.inf)
            reason = self._explain(int(step), batches.batch(int(step)), loss)
            raise NonFiniteLossError(f"{reason}; lower the learning rate, or set trainer.on_nan=skip or rollback")

    def _has_bad_gradient(self) -> bool:
        """Return whether a gradient is not finite."""
        gradients = [parameter.grad for parameter in self.learner.parameters() if parameter.grad is not None]
        return not math.isfinite(nn.utils.get_total_norm(gradients).item())

    def _explain(self, step: int, batch: Batch, loss: float) -> str:
        """Describe which loss is not finite, and where in the batch that begins: in the process where it does."""
        places = []
        for place, modality, bad in self._find_bad_rows(batch):  # all of them: processes must not part here
            if bad.any():
                places.append(f"{place} {modality} is not finite in {self._name(batch.index[bad].tolist())}")
        what = "a gradient is not finite" if math.isfinite(loss) else f"the loss is {loss}"
        finite = f"though every modality is finite (batch of {self._name(batch.index.tolist())})"
        reason = f"{what} at step {step + 1}: {places[0]}" if places else f"{what} at step {step + 1}, {finite}"
        explanations: list[tuple[bool, bool, str]] = gather_object([(math.isfinite(loss), not places, reason)])
        return min(explanations, key=lambda explanation: explanation[:2])[2]

    def _find_bad_rows(self, batch: Batch) -> Iterator[tuple[str, str, Tensor]]:
        """Yield which rows are not finite [B], of the input and then of the features of each modality."""
        for modality, value in batch.inputs.items():
            yield "the input of", modality, _bad_rows(value)
        with no_side_effects(self.learner, batch.index.device), self.accelerator.autocast(), torch.no_grad():
            for modality, value in batch.inputs.items():
                encoders = getattr(self.learner.model, "encoder", {})
                if modality in encoders and not (isinstance(value, dict) and "pooled" in value):
                    yield "the encoder's output for", modality, _bad_rows(encoders[modality](value).pooled)

    def _name(self, rows: list[int]) -> str:
        names = [str(row) if self.ids is None else str(self.ids[row]) for row in rows[:MAX_NAMED]]
        more = f" and {len(rows) - MAX_NAMED} more" if len(rows) > MAX_NAMED else ""
        return f"row{'s' if len(rows) > 1 else ''} {', '.join(names)}{more}"


def _bad_rows(value: Tensor | dict[str, Tensor]) -> Tensor:
    """Return which rows of an input or of features hold something that is not finite, [B] bool."""
    parts = value.values() if isinstance(value, dict) else [value]
    return torch.stack([~torch.isfinite(part).flatten(1).all(1) for part in parts if part.dim() > 1]).any(0)
