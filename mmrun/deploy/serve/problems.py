"""Errors of one request: each says where the problem is, what it is, and what to do instead."""

from mmrun.errors import escape

MAX_LETTERS = 500  # of each part: a cell may be long


class RequestError(Exception):
    """A request that is not answered as it is.

    Args:
        status: of HTTP, 400 or above.
        where: header, body or place in the body, such as rows[2].photo.
        what: is wrong there.
        mend: what to send instead.
        retry_after: seconds after which the same request may succeed; None: it will not.
    """

    def __init__(self, status: int, where: str, what: str, mend: str, retry_after: int | None = None) -> None:
        super().__init__(what)
        self.status, self.where, self.what, self.mend = status, where, what, mend
        self.retry_after = retry_after

    def to_json(self) -> dict[str, dict[str, object]]:
        """Return the body of the answer."""
        parts = {"where": self.where, "what": self.what, "mend": self.mend}
        return {"error": {"status": self.status, **{name: _shorten(text) for name, text in parts.items()}}}

    @property
    def headers(self) -> dict[str, str]:
        """Of the answer."""
        return {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}


def from_message(where: str, message: str) -> RequestError:
    """Return the error of a value that a decoder refused.

    Args:
        where: place in the body.
        message: "what; mend", as errors of mmrun are.
    """
    what, _, mend = message.partition("; ")
    return RequestError(422, where, what, mend or "send another value, or leave it out; GET /schema lists the inputs")


def _shorten(text: str) -> str:
    text = text.encode("utf-8", "backslashreplace").decode()
    return escape(text if len(text) <= MAX_LETTERS else f"{text[:MAX_LETTERS]}…")
