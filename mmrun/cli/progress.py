"""How far training has come, in words: a line per evaluation, and the lines and bars of the live display."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.console import Group
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from mmrun.results.formatting import format_number

BEST = "*"  # marks an evaluation that is the best so far
BAR_WIDTH = 40  # at most, so that a wide terminal is not filled with bars


@dataclass(frozen=True)
class SweepPosition:
    """Where a run stands in its sweep.

    Attributes:
        number: of the run, from 1.
        total: runs of the sweep, finished ones included.
        index: of the run among those that are trained now, from 0.
        count: runs that are trained now.
        started_at: when they began, on the clock of the process that launched them.
        is_parallel: several runs train at a time.
    """

    number: int
    total: int
    index: int
    count: int
    started_at: float
    is_parallel: bool

    @property
    def label(self) -> str:
        """The position as it is printed: run 4/9."""
        return f"run {self.number}/{self.total}"


@dataclass(frozen=True)
class StagePosition:
    """Where a stage stands, and how it trains.

    Attributes:
        name: of the stage.
        number: of the stage, from 1.
        total: stages of the run.
        spent: share of its budget, 0 to 1.
        step: optimizer steps taken.
        epoch: epochs trained, in the budget's unit: each modality of each training row read once.
        epochs: that the budget allows; None for a budget in seconds.
    """

    name: str
    number: int
    total: int
    spent: float
    step: int
    epoch: float
    epochs: float | None

    def format_epoch(self) -> str:
        """Return the epoch, or the share of a budget that is not counted in epochs."""
        if self.epochs is None:
            return f"epoch {self.epoch:.1f} ({self.spent:.0%})"
        decimals = 1 if self.epochs >= 2 else 2
        total = f"{self.epochs:.{decimals}f}".rstrip("0").rstrip(".")
        return f"epoch {self.epoch:{len(str(int(self.epochs))) + 1 + decimals}.{decimals}f}/{total}"


class Clock:
    """Measures the time of a stage, a run and a sweep, and estimates what remains.

    What remains is taken to pass as fast as what this process trained so far, per share of the budget.

    Args:
        shares: of the budget, by stage, in order.
        sweep: position of the run; None: it is no part of one.
        now: returns seconds.
    """

    def __init__(self, shares: Mapping[str, float], sweep: SweepPosition | None, now: Callable[[], float]) -> None:
        self.shares, self.sweep, self.now = shares, sweep, now
        self.run_started_at = self.stage_started_at = now()
        self.stage, self.spent_at_start, self.spent = "", 0.0, 0.0
        self._earlier_share = self._earlier_seconds = 0.0  # of the stages that this process trained before this one

    def start_stage(self, name: str, spent: float) -> None:
        """Note that a stage starts or resumes.

        Args:
            name: of the stage.
            spent: share of its budget that is spent.
        """
        self._earlier_share += self._trained_share
        self._earlier_seconds += self.stage_seconds if self._trained_share else 0.0
        self.stage, self.spent_at_start, self.spent = name, spent, spent
        self.stage_started_at = self.now()

    def update(self, spent: float) -> None:
        """Note how far the stage has come.

        Args:
            spent: share of its budget, 0 to 1.
        """
        self.spent = spent

    @property
    def _trained_share(self) -> float:
        """Share of the run's budget that this process spent on the current stage."""
        return self.shares.get(self.stage, 1.0) * (self.spent - self.spent_at_start)

    @property
    def stage_seconds(self) -> float:
        """Seconds since the stage started or resumed."""
        return self.now() - self.stage_started_at

    @property
    def run_seconds(self) -> float:
        """Seconds since the run started or resumed."""
        return self.now() - self.run_started_at

    @property
    def sweep_seconds(self) -> float:
        """Seconds since the sweep started."""
        return self.run_seconds if self.sweep is None else self.now() - self.sweep.started_at

    @property
    def run_spent(self) -> float:
        """Share of the run's budget that is spent."""
        names = list(self.shares)
        if self.stage not in names:
            return self.spent
        earlier = sum(self.shares[name] for name in names[: names.index(self.stage)])
        return earlier + self.shares[self.stage] * self.spent

    @property
    def sweep_spent(self) -> float:
        """Share of the sweep's runs that are trained."""
        return self.run_spent if self.sweep is None else (self.sweep.index + self.run_spent) / self.sweep.count

    def stage_left(self) -> float | None:
        """Estimate the remaining seconds of the stage; None before anything is trained."""
        trained = self.spent - self.spent_at_start
        return self.stage_seconds / trained * (1 - self.spent) if trained > 0 else None

    def run_left(self) -> float | None:
        """Estimate the remaining seconds of the run; None before anything is trained."""
        share = self._earlier_share + self._trained_share
        stage_left = self.stage_left()
        if stage_left is None or share <= 0:
            return None
        later = 1 - self.run_spent - self.shares.get(self.stage, 1.0) * (1 - self.spent)
        return stage_left + (self._earlier_seconds + self.stage_seconds) / share * max(later, 0.0)

    def sweep_left(self) -> float | None:
        """Estimate the remaining seconds of the sweep; None before anything is trained."""
        run_left = self.run_left()
        if run_left is None or self.sweep is None:
            return run_left
        seconds_per_run = (self.sweep_seconds + run_left) / (self.sweep.index + 1)
        return run_left + seconds_per_run * (self.sweep.count - self.sweep.index - 1)


def format_clock(seconds: float | None) -> str:
    """Write a time as a clock does: 0:07, 12:30, 1:02:33.

    Args:
        seconds: None becomes a dash.
    """
    if seconds is None:
        return "-"
    minutes, remainder = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{remainder:02}" if hours else f"{minutes}:{remainder:02}"


def format_evaluation(
    position: StagePosition,
    name_width: int,
    seconds: float,
    metrics: Mapping[str, float],
    is_best: bool,
    width: int | None = None,
) -> str:
    """Write an evaluation as one line; on a narrow terminal without the step, then without the time.

    Args:
        position: of the stage.
        name_width: of the longest stage name.
        seconds: since the run started.
        metrics: to show, by logged name.
        is_best: mark it as the best so far.
        width: columns of the terminal; None: unlimited.
    """
    place = [f"{position.name:{name_width}}", position.format_epoch()]
    step, clock = f"step {position.step:>5}", f"{format_clock(seconds):>7}"
    values = [f"{name} {format_number(value)}" for name, value in metrics.items()]
    values.append(BEST if is_best else " ")  # so that the next line has the same columns
    for details in ([step, clock], [clock], []):
        line = "  ".join([*place, *details, *values])
        if width is None or cell_len(line) <= width:
            break
    return line.rstrip()


def build_display(clock: Clock, position: StagePosition, facts: Sequence[str]) -> Group:
    """Build the live display: where training is, how fast it is, and a bar each for stage, run and sweep.

    Args:
        clock: of the run.
        position: of the stage.
        facts: loss, learning rate, speed, best value ...
    """
    place = [] if clock.sweep is None else [clock.sweep.label]
    if position.total > 1:
        place.append(f"stage {position.number}/{position.total}")
    place += [position.name, position.format_epoch(), f"step {position.step:,}"]
    rows = [("run", clock.run_spent, clock.run_seconds, clock.run_left())]
    if position.total > 1:
        rows.insert(0, ("stage", clock.spent, clock.stage_seconds, clock.stage_left()))
    if clock.sweep is not None:
        rows.append(("sweep", clock.sweep_spent, clock.sweep_seconds, clock.sweep_left()))
    return Group(_build_line(place, "bold"), _build_line(facts), _build_bars(rows))


def _build_line(parts: Sequence[str], style: str = "") -> Text:
    return Text("  ".join(parts), style=style, no_wrap=True, overflow="ellipsis")


def _build_bars(rows: Sequence[tuple[str, float, float, float | None]]) -> Table:
    """Build a row for each of (label, share, elapsed seconds, remaining seconds)."""
    bars = Table.grid(padding=(0, 2, 0, 0))
    for justify in ("left", "left", "right", "right", "left"):
        bars.add_column(justify=justify, no_wrap=True)
    for label, share, seconds, left in rows:
        share = min(share, 1.0)
        remaining = "" if left is None else f"{format_clock(left)} left"
        bar = ProgressBar(total=1.0, completed=share, width=BAR_WIDTH, complete_style="cyan", finished_style="cyan")
        bars.add_row(label, bar, f"{share:>4.0%}", format_clock(seconds), remaining)
    return bars
