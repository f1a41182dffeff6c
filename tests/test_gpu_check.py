import os

import pytest
import torch

from tests.gpu_check import PARTS, ROOT, Part, main, report, run_part


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_every_part_is_skipped_with_a_message(capsys):
    assert main([]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[2] == "precision        skipped              no GPU (--tiny rehearses on the CPU)"
    assert len(lines) == 2 + len(PARTS)


def test_every_file_of_tests_for_a_gpu_is_a_part():
    files = {f"tests/gpu/{file.name}" for file in (ROOT / "tests/gpu").glob("test_*.py")}
    assert files == {part.command[-1] for part in PARTS if "pytest" in part.command}


@pytest.mark.parametrize(
    ("program", "limit", "result"),
    [
        ("print('3 passed in 1 s')", 60, "passed"),
        ("raise SystemExit('a goal is missed')", 60, "failed"),
        ("import time; time.sleep(60)", 0.5, "out of time"),
        ("", 0, "out of time"),
    ],
)
def test_a_part_passes_fails_or_runs_out_of_time(program, limit, result):
    assert run_part(Part("part", ["-S", "-c", program], limit), dict(os.environ)).result == result


def test_the_output_of_a_failure_is_printed_and_that_of_passed_tests_is_not(capsys):
    report("one", run_part(Part("one", ["-S", "-c", "print('...'); print('3 passed in 1 s')"], 60), dict(os.environ)))
    report("two", run_part(Part("two", ["-S", "-c", "raise SystemExit('a goal is missed')"], 60), dict(os.environ)))
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert [lines[0].split()[:2], lines[0].endswith("3 passed in 1 s")] == [["one", "passed"], True]
    assert [lines[1].split()[:2], lines[2]] == [["two", "failed"], "a goal is missed"]
