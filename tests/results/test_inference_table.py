"""What predicting takes, before and after compression."""

from mmrun.results.inference_table import build_group_table, build_inference_table

ORIGINAL = {"parameters": 1000, "nonzero_parameters": 1000, "file_size": 4096}
ORIGINAL |= {"p50": 0.002, "p99": 0.004, "memory": 8192}
COMPRESSED = {**ORIGINAL, "parameters": 500, "nonzero_parameters": 0, "file_size": 1024, "p50": 0.001}
INFERENCE = {"device": "cpu", "threads": 1, "original": ORIGINAL, "compressed": COMPRESSED}


def test_a_compressed_model_stands_below_its_original():
    table = build_inference_table(INFERENCE)
    assert table.rows == [
        ["original", "1k", "1k", "4 KiB", "2 ms", "4 ms", "8 KiB"],
        ["compressed", "500 (0.50x)", "0 (0.00x)", "1 KiB (0.25x)", "1 ms (0.50x)", "4 ms (1.00x)", "8 KiB (1.00x)"],
    ]


def test_a_group_is_the_mean_of_its_runs_and_zero_has_no_ratio():
    runs = [{"inference": {**INFERENCE, "original": {**ORIGINAL, "memory": 0}}}, {}]
    table = build_group_table(["compress"], [(["prune=0.5"], runs), (["none"], [{}])])
    assert table.rows == [
        ["prune=0.5", "500 (0.50x)", "0 (0.00x)", "1 KiB (0.25x)", "1 ms (0.50x)", "4 ms (1.00x)", "8 KiB"]
    ]
