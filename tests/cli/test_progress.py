"""Where training is, in words. All lines are literal; a fake clock tells the time."""

import io

import pytest

from mmrun.cli.console import Console
from mmrun.cli.progress import Clock, StagePosition, SweepPosition, build_display, format_clock, format_evaluation

STAGE = StagePosition("pretrain-image", number=2, total=4, spent=0.3, step=69, epoch=3.07, epochs=10.0)
METRICS = {"train/loss": 2.172, "val/accuracy": 0.3667}
SHARES = {"pretrain-text": 0.25, "pretrain-image": 0.25, "finetune": 0.5}
SWEEP = SweepPosition(number=4, total=9, index=1, count=7, started_at=0.0, is_parallel=False)


class FakeTime:
    """A clock that is set by hand."""

    def __init__(self):
        self.seconds = 0.0

    def __call__(self):
        return self.seconds


def render(display, width):
    output = io.StringIO()
    Console(file=output, width=width, color_system=None).print(display)
    return [line.rstrip() for line in output.getvalue().splitlines()]


@pytest.mark.parametrize(
    ("seconds", "text"), [(None, "-"), (0.4, "0:00"), (59.6, "1:00"), (750, "12:30"), (3753, "1:02:33")]
)
def test_times_are_written_as_by_a_clock(seconds, text):
    assert format_clock(seconds) == text


def test_an_evaluation_is_a_line_with_epoch_step_time_and_metrics():
    line = format_evaluation(STAGE, 14, 83.0, METRICS, is_best=False)
    assert line == "pretrain-image  epoch  3.1/10  step    69     1:23  train/loss 2.1720  val/accuracy 0.3667"
    line = format_evaluation(STAGE, 14, 83.0, METRICS, is_best=True)
    assert line == "pretrain-image  epoch  3.1/10  step    69     1:23  train/loss 2.1720  val/accuracy 0.3667  *"


def test_a_narrow_terminal_leaves_out_the_step_and_then_the_time():
    lines = [format_evaluation(STAGE, 14, 83.0, METRICS, True, width) for width in (93, 92, 80, 60)]
    assert lines == [
        "pretrain-image  epoch  3.1/10  step    69     1:23  train/loss 2.1720  val/accuracy 0.3667  *",
        "pretrain-image  epoch  3.1/10     1:23  train/loss 2.1720  val/accuracy 0.3667  *",
        "pretrain-image  epoch  3.1/10  train/loss 2.1720  val/accuracy 0.3667  *",
        "pretrain-image  epoch  3.1/10  train/loss 2.1720  val/accuracy 0.3667  *",
    ]


@pytest.mark.parametrize(
    ("epoch", "epochs", "text"),
    [
        (0.1, 0.2, "epoch 0.10/0.2"),
        (1.0, 2.0, "epoch 1.0/2"),
        (7.25, 100.0, "epoch   7.2/100"),
        (1.0, None, "epoch 1.0 (30%)"),
    ],
)
def test_the_epoch_is_shown_with_its_total_or_the_share_of_another_budget(epoch, epochs, text):
    assert StagePosition("train", 1, 1, 0.3, 5, epoch, epochs).format_epoch() == text


def test_remaining_time_follows_from_the_shares_of_the_stages():
    time = FakeTime()
    clock = Clock(SHARES, None, time)
    assert (clock.stage_left(), clock.run_left()) == (None, None)
    clock.start_stage("pretrain-text", 0.0)
    time.seconds = 10.0
    clock.update(0.5)
    assert (clock.stage_left(), clock.run_left(), clock.run_spent) == (10.0, 70.0, 0.125)
    time.seconds = 20.0
    clock.update(1.0)
    clock.start_stage("pretrain-image", 0.0)
    time.seconds = 30.0
    clock.update(0.5)
    assert (clock.stage_left(), clock.run_left(), clock.run_spent) == (10.0, 50.0, 0.375)


def test_a_resumed_stage_counts_only_what_this_process_trained():
    time = FakeTime()
    clock = Clock(SHARES, None, time)
    clock.start_stage("finetune", 0.8)
    time.seconds = 6.0
    clock.update(0.9)
    assert clock.stage_left() == pytest.approx(6.0)
    assert clock.run_left() == pytest.approx(6.0)


def test_a_reused_stage_takes_no_time():
    time = FakeTime()
    clock = Clock(SHARES, None, time)
    clock.start_stage("pretrain-text", 0.0)
    clock.start_stage("pretrain-image", 0.0)
    time.seconds = 10.0
    clock.update(0.5)
    assert (clock.stage_left(), clock.run_left()) == (10.0, 50.0)


def test_the_display_of_a_run_in_a_sweep_fits_80_columns():
    time = FakeTime()
    clock = Clock(SHARES, SWEEP, time)
    time.seconds = 100.0
    clock.start_stage("pretrain-text", 0.0)
    time.seconds = 110.0
    clock.update(1.0)
    clock.start_stage("pretrain-image", 0.0)
    time.seconds = 113.0
    clock.update(0.3)
    facts = ["loss 0.2436", "lr 0.000701", "428 samples/s", "best val/loss 0.2883 at epoch 2.5"]
    lines = render(build_display(clock, STAGE, facts), 80)
    assert lines == [
        "run 4/9  stage 2/4  pretrain-image  epoch  3.1/10  step 69",
        "loss 0.2436  lr 0.000701  428 samples/s  best val/loss 0.2883 at epoch 2.5",
        "stage  ━━━━━━━━━━━━                               30%  0:03  0:07 left",
        "run    ━━━━━━━━━━━━━                              32%  1:53  0:27 left",
        "sweep  ━━━━━━━╸                                   19%  1:53  6:17 left",
    ]


def test_the_display_of_a_single_stage_has_one_bar():
    time = FakeTime()
    clock = Clock({"train": 1.0}, None, time)
    clock.start_stage("train", 0.0)
    time.seconds = 5.0
    clock.update(0.25)
    position = StagePosition("train", 1, 1, 0.25, 1000, 2.5, 10.0)
    lines = render(build_display(clock, position, ["loss 0.1"]), 120)
    assert lines == [
        "train  epoch  2.5/10  step 1,000",
        "loss 0.1",
        "run  ━━━━━━━━━━                                 25%  0:05  0:15 left",
    ]


def test_names_are_shown_as_they_are():
    clock = Clock({"[red]x\x1b[2J": 1.0}, None, FakeTime())
    position = StagePosition("[red]x\x1b[2J", 1, 1, 0.0, 0, 0.0, 1.0)
    assert render(build_display(clock, position, []), 80)[0] == "[red]x\\x1b[2J  epoch 0.00/1  step 0"
