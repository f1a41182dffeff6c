"""Limits of a server."""

from dataclasses import dataclass

MIB = 1 << 20


@dataclass(frozen=True)
class Settings:
    """Limits of a server.

    Attributes:
        max_batch: rows that are predicted together.
        max_wait: seconds that a row waits for others.
        max_queue: rows that may wait; with more, the answer is 503.
        max_rows: of one request.
        max_body: bytes of one request.
        max_bodies: bytes of all requests that are being answered.
        max_explanations: that may wait.
        body_seconds: in which a client has to send its request.
        answer_seconds: in which a request has to be answered.
    """

    max_batch: int = 32
    max_wait: float = 0.002
    max_queue: int = 512
    max_rows: int = 256
    max_body: int = 32 * MIB
    max_bodies: int = 256 * MIB
    max_explanations: int = 4
    body_seconds: float = 20.0
    answer_seconds: float = 60.0

    def to_json(self) -> dict[str, object]:
        """Return what a client has to know."""
        return {"rows": self.max_rows, "bytes": self.max_body, "seconds": self.answer_seconds}
