"""What an objective collects during a step, and the engine takes back if the step is repeated or skipped."""

from torch import nn


class StepState(nn.Module):
    """Base class of modules whose buffers change in `forward` of an objective, to be used in `on_step_end`.

    Where memory runs out or a step is skipped, the engine restores the buffers from the beginning of the step. They are
    not persistent: between two steps, when checkpoints are saved, there is nothing to keep.
    """
