"""The outputs of a model: its fused head, and the probe of each modality."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Head:
    """An output of a model.

    Attributes:
        modality: of the probe; None: the fused head.
    """

    modality: str | None = None

    @property
    def name(self) -> str:
        """The name in metrics.json: fused, or probe.image."""
        return "fused" if self.modality is None else f"probe.{self.modality}"

    @classmethod
    def parse(cls, name: str) -> "Head":
        """Return the head with a name."""
        return FUSED if name == "fused" else cls(name.removeprefix("probe."))

    def qualify(self, name: str) -> str:
        """Return the name of something that a head has: accuracy for the fused head, accuracy/image for a probe."""
        return name if self.modality is None else f"{name}/{self.modality}"


FUSED = Head()


def sort_heads(heads: set[Head]) -> list[Head]:
    """Return the heads in their usual order: fused, then probes by modality."""
    return sorted(heads, key=lambda head: head.modality or "")
