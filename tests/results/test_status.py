"""The status file of a run."""

import time

from tests.results.fabricate import started


def test_a_status_keeps_values_that_are_not_given_again(tmp_path):
    folder = started(tmp_path)
    folder.status.write("running", "pretrain", step=12, progress=0.25)
    folder.status.write("failed", message="RunError: the loss is nan")
    status = folder.status.read()
    assert (status["status"], status["stage"], status["step"], status["progress"]) == ("failed", "pretrain", 12, 0.25)
    assert status["message"] == "RunError: the loss is nan"
    assert abs(status["heartbeat"] - time.time()) < 60
