"""Counts of a server in the text format of Prometheus."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Histogram:
    """Counts of values by upper bound.

    Args:
        bounds: ascending.
    """

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def observe(self, value: float) -> None:
        """Count a value."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def format(self, name: str) -> Iterator[str]:
        """Yield the lines of the histogram."""
        total = 0
        for bound, count in zip((*self._bounds, "+Inf"), self._counts, strict=True):
            total += count
            yield f'{name}_bucket{{le="{bound}"}} {total}'
        yield f"{name}_sum {self._sum:.6f}"
        yield f"{name}_count {total}"


class ServerMetrics:
    """What a server has done since it started.

    Attributes:
        seconds: of predicting requests.
        batch_rows: of the batches.
        rows: predicted.
        queued_rows: returns how many rows wait.
    """

    def __init__(self) -> None:
        self._requests: Counter[tuple[str, int]] = Counter()
        self.seconds = Histogram(SECONDS)
        self.batch_rows = Histogram(ROWS)
        self.rows = 0
        self.queued_rows: Callable[[], int] = lambda: 0

    def count(self, path: str, status: int) -> None:
        """Count a request."""
        self._requests[path, status] += 1

    def format(self) -> str:
        """Return all metrics, a line each."""
        lines = ["# HELP mmrun_requests_total Requests by path and status.", "# TYPE mmrun_requests_total counter"]
        for (path, status), count in sorted(self._requests.items()):
            lines.append(f'mmrun_requests_total{{path="{path}",status="{status}"}} {count}')
        lines += ["# HELP mmrun_rows_total Predicted rows.", "# TYPE mmrun_rows_total counter"]
        lines.append(f"mmrun_rows_total {self.rows}")
        lines += ["# HELP mmrun_queued_rows Rows that wait.", "# TYPE mmrun_queued_rows gauge"]
        lines.append(f"mmrun_queued_rows {self.queued_rows()}")
        lines += ["# HELP mmrun_predict_seconds Time of /predict.", "# TYPE mmrun_predict_seconds histogram"]
        lines += self.seconds.format("mmrun_predict_seconds")
        lines += ["# HELP mmrun_batch_rows Rows of a batch.", "# TYPE mmrun_batch_rows histogram"]
        lines += self.batch_rows.format("mmrun_batch_rows")
        return "\n".join(lines) + "\n"
