"""The log of a run: events survive a kill, and a resumed run continues from its checkpoint."""

from mmrun.results.folder import RunFolder
from tests.results.fabricate import started


def test_the_log_continues_from_a_checkpoint(tmp_path):
    folder = started(tmp_path)
    folder.log.append({"step": 1, "val/loss": 0.5})
    size = folder.log.size()
    folder.log.append({"step": 2})
    folder.log.truncate(size)
    folder.log.append({"step": 2, "again": True})
    assert list(folder.log.read_events()) == [{"step": 1, "val/loss": 0.5}, {"step": 2, "again": True}]


def test_an_event_is_on_disk_at_once_and_an_incomplete_line_is_ignored(tmp_path):
    folder = started(tmp_path)
    assert folder.log.size() == 0
    folder.log.append({"step": 1, "loss": float("inf")})
    with folder.log_file.open("a") as log:
        log.write('{"step": 2, "lo')
    assert list(RunFolder(folder.path).log.read_events()) == [{"step": 1, "loss": None}]
