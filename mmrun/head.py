"""The outputs of a model: its fused head, and the probe of each modality."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Head:
    """An output of a model.

    Attributes:
        modality: the modality of a probe; None for the fused head.
    """

    modality: str | None = None

    @property
    def name(self) -> str:
        """The name in metrics.json: `fused`, or `probe.image`."""
        return "fused" if self.modality is None else f"probe.{self.modality}"

    @classmethod
    def parse(cls, name: str) -> "Head":
        """Return the head that a name stands for.

        Args:
            name: as in metrics.json: `fused`, or `probe.image`.

        Returns:
            FUSED, or the probe of the modality.
        """
        return FUSED if name == "fused" else cls(name.removeprefix("probe."))

    def qualify(self, name: str) -> str:
        """Return the name of a metric or output of this head.

        Args:
            name: of the metric or output alone, for example `accuracy`.

        Returns:
            `accuracy` for the fused head, `accuracy/image` for the probe of image.
        """
        return name if self.modality is None else f"{name}/{self.modality}"


FUSED = Head()


def sort_heads(heads: set[Head]) -> list[Head]:
    """Return the heads in their usual order.

    Args:
        heads: of one model or stage.

    Returns:
        The fused head first, then the probes by the name of their modality.
    """
    return sorted(heads, key=lambda head: head.modality or "")


def metric_name(metric: str, task: str, head: Head, num_tasks: int) -> str:
    """Return the name of a metric in a run: accuracy, accuracy/image for a probe, label.accuracy for several tasks.

    Args:
        metric: accuracy ...
        task: its name.
        head: that predicted.
        num_tasks: of the run.
    """
    return head.qualify(metric if num_tasks == 1 else f"{task}.{metric}")
