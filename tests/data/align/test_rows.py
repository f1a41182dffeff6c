import numpy as np
import pytest
import soundfile
from PIL import Image

from mmrun.data.align import streams
from mmrun.data.align.options import Alignment
from mmrun.data.items import Excerpt
from mmrun.data.preprocess.audio import read_audio
from mmrun.data.preprocess.series import Steps
from mmrun.data.preprocess.video_files import read_frames
from mmrun.data.sources.manifest import describe, manifest
from mmrun.errors import ConfigError, DataError
from tests.data.align.streams import write_frames, write_ramp, write_table
from tests.data.files import error_of

WINDOW = {"time": "at", "window": [-0.5, 0.5], "rate": 4}
TIMES = [2, 3, 4.1, 5]


def open_aligned(path, kind="series", on_error="raise", layout=None, **alignment):
    align = {"stream": {"time": "at", **alignment}}
    return manifest(path, kinds={"stream": kind}, align=align, on_error=on_error, layout=layout)


def test_windows_of_a_series_are_resampled_to_a_common_rate(tmp_path):
    write_ramp(tmp_path / "slow.csv", 0, 10, rate=2)
    table = open_aligned(write_table(tmp_path, "slow.csv", TIMES), **WINDOW)
    windows = table.columns["stream"].values
    assert windows[0].tolist() == [[3.0, 3.5, 4.0, 4.5]]
    np.testing.assert_allclose(windows[2], [[7.2, 7.7, 8.2, 8.7]], rtol=1e-6)
    assert table.fields == {"stream": ["stream"], "tabular": ["size"]}  # the times of the rows are no input
    assert "stream: -0.5 to +0.5 s around 'at', 4 steps at 4 Hz, interpolated" in table.notes
    assert table.warnings == []


def test_windows_decode_as_series_do(tmp_path):
    write_ramp(tmp_path / "slow.csv", 0, 10, rate=2)
    column = open_aligned(write_table(tmp_path, "slow.csv", TIMES), **WINDOW).columns["stream"]
    steps = Steps(num_steps=4, scale="none")
    steps.fit(column, np.arange(4))
    assert steps.decode(column.values[1])["values"].tolist() == [[5.0, 5.5, 6.0, 6.5]]


def test_the_nearest_samples_are_not_mixed(tmp_path):
    write_ramp(tmp_path / "slow.csv", 0, 10, rate=2)
    table = open_aligned(write_table(tmp_path, "slow.csv", TIMES), how="nearest", **WINDOW)
    assert table.columns["stream"].values[2].tolist() == [[7.0, 8.0, 8.0, 9.0]]


def test_an_offset_is_added_to_the_clock_of_the_stream(tmp_path):
    write_ramp(tmp_path / "late.csv", 100, 110, rate=2)
    table = open_aligned(write_table(tmp_path, "late.csv", TIMES), offset=-100, **WINDOW)
    assert table.columns["stream"].values[0].tolist() == [[203.0, 203.5, 204.0, 204.5]]


@pytest.mark.parametrize("layout", ["time_first", "channels_first"])
def test_arrays_have_their_time_first_or_a_rate(tmp_path, layout):
    times = np.arange(0, 10, 0.5)
    samples = np.stack([times, 2 * times])
    np.save(tmp_path / "a.npy", samples if layout == "channels_first" else samples.T)
    path = write_table(tmp_path, "a.npy", TIMES)
    assert open_aligned(path, **WINDOW).columns["stream"].values[0].tolist() == [[3.0, 3.5, 4.0, 4.5]]
    rated = open_aligned(path, stream_rate=2, layout={"stream": layout}, **WINDOW).columns["stream"].values[0]
    assert rated.tolist() == [[1.5, 1.75, 2.0, 2.25], [3.0, 3.5, 4.0, 4.5]]


def test_gaps_are_empty_and_rows_outside_are_missing(tmp_path):
    (tmp_path / "gap.csv").write_text("".join(f"{time},{time}\n" for time in [0, 0.5, 1, 1.5, 2, 4, 4.5, 5, 5.5]))
    table = open_aligned(write_table(tmp_path, "gap.csv", [1, 2.5, 3.0, 50, 5, ""]), tolerance=0.3, **WINDOW)
    windows = table.columns["stream"].values
    np.testing.assert_array_equal(windows[1], [[2.0, 2.25, np.nan, np.nan]])
    assert table.columns["stream"].is_present().tolist() == [True, True, False, False, True, False]
    assert table.warnings == [
        "stream: 2 of 6 rows have nothing at their time, first my.csv:4: 3 s, in a stream from 0 to 5.5 s; "
        "dataset.align.stream.offset moves the clock of its streams"
    ]


def test_a_row_with_nothing_else_is_a_bad_one(tmp_path):
    write_ramp(tmp_path / "slow.csv", 0, 10, rate=2)
    path = write_table(tmp_path, "slow.csv", [2, 50, 3, 4])
    align = {"stream": WINDOW}
    columns = {"stream": "stream"}
    assert error_of(DataError, path, columns=columns, align=align) == (
        "my.csv:3: stream: all are empty, or their streams have nothing at its time; fill one in, or remove the row"
    )
    assert list(manifest(path, columns=columns, align=align, on_error="skip").ids) == [
        "my.csv:2",
        "my.csv:4",
        "my.csv:5",
    ]


def test_a_clock_that_no_row_agrees_with_is_an_error(tmp_path):
    write_ramp(tmp_path / "slow.csv", 0, 10, rate=2)
    path = write_table(tmp_path, "slow.csv", [2000, 3000, 4000, 5000])
    assert error_of(DataError, path, align={"stream": WINDOW}) == (
        "stream: 4 of 4 rows have nothing at their time, first my.csv:2: 2000 s, in a stream from 0 to 9.5 s; "
        "dataset.align.stream.offset moves the clock of its streams"
    )


@pytest.mark.parametrize(
    ("names", "times"),
    [
        (["7.00.png", "7.50.png", "8.00.png", "8.50.png"], [7.1, 7.3, 8.0, 8.5]),
        (["1531883530000.png", "cam_1531883530500.png"], [1531883530.1, 1531883530.3, 1531883530.5, 1531883530.9]),
    ],
)
def test_the_picture_with_the_nearest_time_stamp(tmp_path, names, times):
    write_frames(tmp_path / "cam", names)
    values = open_aligned(write_table(tmp_path, "cam", times), kind="image").columns["stream"].values
    assert values[0] == tmp_path / "cam" / names[0]
    assert values[1] == tmp_path / "cam" / names[1]


@pytest.mark.parametrize("place", ["drive/data", "drive"])
def test_time_stamps_in_a_file_as_in_kitti(tmp_path, place):
    write_frames(tmp_path / "drive" / "data", ["0.png", "1.png", "10.png"])
    stamps = "".join(f"2011-09-26 13:02:25.{digits}\n" for digits in ("100000000", "200000000", "300000000"))
    (tmp_path / place / "timestamps.txt").write_text(stamps)
    path = write_table(tmp_path, "drive/data", [f"2011-09-26 13:02:25.{digits}" for digits in ("11", "26", "31", "99")])
    table = open_aligned(path, kind="image")
    assert [value and value.name for value in table.columns["stream"].values] == ["0.png", "10.png", "10.png", None]
    assert table.warnings[0].startswith(
        "stream: 1 of 4 rows have nothing at their time, first my.csv:5: 1317042145.99 s"
    )


def test_scans_without_time_stamps_have_a_rate(tmp_path):
    (tmp_path / "scans").mkdir()
    for number in range(3):
        np.full((5, 4), number, dtype=np.float32).tofile(tmp_path / "scans" / f"{number:06}.bin")
    path = write_table(tmp_path, "scans", [0, 0.06, 0.11, 0.9])
    values = open_aligned(path, kind="points", stream_rate=10, tolerance=0.05).columns["stream"].values
    assert [value and value.name for value in values] == ["000000.bin", "000001.bin", "000001.bin", None]


def test_frames_in_a_window_are_a_video(tmp_path):
    write_frames(tmp_path / "cam", [f"{number}.png" for number in range(20)])
    path = write_table(tmp_path, "cam", [0.5, 1, 1.9, 9])
    values = open_aligned(path, kind="video", stream_rate=10, window=[-0.1, 0.2]).columns["stream"].values
    assert [[frame.stem for frame in value or []] for value in values] == [
        ["4", "5", "6"],
        ["9", "10", "11"],
        ["18", "19"],
        [],
    ]


def test_a_part_of_a_sound_with_silence_beyond_its_ends(tmp_path):
    soundfile.write(tmp_path / "long.wav", np.arange(80) / 100, 8, subtype="FLOAT")
    path = write_table(tmp_path, "long.wav", [0, 5, 9.75, 99])
    values = open_aligned(path, kind="audio", window=[-0.25, 0.5]).columns["stream"].values
    assert values[1] == Excerpt(tmp_path / "long.wav", 4.75, 5.5)
    read = [read_audio(value)[0].tolist() if value else None for value in values]
    np.testing.assert_allclose(read[0], [0, 0, 0.0, 0.01, 0.02, 0.03], rtol=1e-6)
    np.testing.assert_allclose(read[1], [0.38, 0.39, 0.40, 0.41, 0.42, 0.43], rtol=1e-6)
    np.testing.assert_allclose(read[2], [0.76, 0.77, 0.78, 0.79, 0, 0], rtol=1e-6)
    assert read[3] is None


def test_a_part_of_a_video(tmp_path):
    frames = [Image.new("L", (8, 8), 25 * number) for number in range(10)]
    frames[0].save(tmp_path / "long.gif", save_all=True, append_images=frames[1:], duration=100)
    table = open_aligned(write_table(tmp_path, "long.gif", [0.2, 0.5, 0.8, 7]), kind="video", window=[-0.1, 0.1])
    values = table.columns["stream"].values
    assert [frame.getpixel((0, 0))[0] for frame in read_frames(values[1], 2)] == [100, 125]
    assert values[3] is None


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("0,1\n1,1\n0.5,1\n", "s.csv, whose first column is the time: time stamp 3 is 0.5, but the one before it 1"),
        ("0,1\nnan,1\n1,1\n", "s.csv, whose first column is the time: time stamp 2 is nan"),
        ("0\n1\n2\n", "s.csv has one column, but the first one is the time; set stream_rate=HZ"),
        ("0,1\n", "s.csv has a single sample, and is no stream"),
        ("0,1\n1,1,1\n", "s.csv:2: is not a step of 2 numbers"),
    ],
)
def test_streams_that_cannot_be_used(tmp_path, content, message):
    (tmp_path / "s.csv").write_text(content)
    path = write_table(tmp_path, "s.csv", TIMES)
    assert error_of(DataError, path, align={"stream": WINDOW}).startswith(f"my.csv:2: column 'stream': {message}")


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ("cam", "'cam/b.png' has no time stamp in its name; write timestamps.txt beside it, a line for each file, or"),
        ("empty", "'empty' is a folder without image files"),
        ("nowhere", "'nowhere' is not a folder; name the one that holds the files of the stream"),
        ("short", "timestamps.txt has 1 lines, but 'short' 2 files"),
        ("damaged", "'noon' is not a time"),
        ("..", "'..' lies outside"),
    ],
)
def test_folders_that_cannot_be_used(tmp_path, cell, message):
    root = tmp_path / "root"
    write_frames(root / "cam", ["1.5.png", "b.png"])
    write_frames(root / "short", ["0.png", "1.png"])
    write_frames(root / "damaged", ["0.png", "1.png"])
    (root / "empty").mkdir()
    (root / "short" / "timestamps.txt").write_text("1\n")
    (root / "damaged" / "timestamps.txt").write_text("1\nnoon\n")
    path = write_table(root, cell, TIMES)
    error = error_of(DataError, path, kinds={"stream": "image"}, align={"stream": {"time": "at"}})
    assert error.startswith(f"my.csv:2: column 'stream': {message}")


@pytest.mark.parametrize(
    ("kind", "alignment", "message"),
    [
        ("series", {}, "dataset.align.stream.window is not set; series needs window: [START,STOP], in s from the time"),
        ("series", {"window": [0, 1]}, "dataset.align.stream.rate is not set; series needs rate: in Hz"),
        ("series", {"windw": [0, 1]}, "no key 'dataset.align.stream.windw'; did you mean 'window'?"),
        ("series", {"window": [1, 0], "rate": 4}, "dataset.align.stream.window: [1.0, 0.0] is empty; give the first"),
        ("series", {"window": [0, 1], "rate": 1e9}, "dataset.align.stream.rate: 1000000000.0 is not a number"),
        ("series", {"window": [0, 1], "rate": -1}, "dataset.align.stream.rate: -1 is not a number"),
        (
            "series",
            {"window": [0, 1e5], "rate": 1e5},
            "dataset.align.stream: a window of 10,000,000,000 steps; at most",
        ),
        ("series", {"window": [0], "rate": 1}, "dataset.align.stream.window: [0] has 1 values, not 2"),
        ("series", {"window": [0, 1], "rate": 4, "how": "cubic"}, "dataset.align.stream.how: 'cubic' is not one of"),
        (
            "series",
            {"window": [0, 1], "rate": 4, "tolerance": -1},
            "dataset.align.stream.tolerance: -1 is not a number",
        ),
        ("series", {"window": [0, 1], "rate": 4, "offset": "late"}, "dataset.align.stream.offset: 'late' is not a num"),
        (
            "image",
            {"window": [0, 1]},
            "dataset.align.stream.window: cannot be used with image, which reads time, offset",
        ),
        ("audio", {"window": [0, 1], "rate": 4}, "dataset.align.stream.rate: cannot be used with audio, which reads"),
        ("text", {}, "dataset.align.stream: 'stream' is text; series, audio, video, image, points can be aligned"),
    ],
)
def test_alignments_that_do_not_fit(tmp_path, kind, alignment, message):
    path = write_table(tmp_path, "s.csv", TIMES)
    align = {"stream": {"time": "at", **alignment}}
    assert error_of(ConfigError, path, kinds={"stream": kind}, align=align).startswith(message)


def test_names_that_do_not_exist(tmp_path):
    path = write_table(tmp_path, "s.csv", TIMES)
    assert error_of(ConfigError, path, align={"strem": WINDOW}).startswith(
        "dataset.align.strem: there is no such modality; did you mean 'stream'? (there are stream, tabular)"
    )
    assert error_of(ConfigError, path, align={"stream": {**WINDOW, "time": "att"}}).startswith(
        "dataset.align.NAME.time: my.csv has no column 'att'; did you mean 'at'?"
    )


def test_the_fingerprint_covers_the_alignment_and_its_streams(tmp_path):
    write_ramp(tmp_path / "slow.csv", 0, 10, rate=2)
    path = write_table(tmp_path, "slow.csv", TIMES)
    prints = [open_aligned(path, **WINDOW, offset=offset).fingerprint for offset in (0, 0, 1)]
    write_ramp(tmp_path / "slow.csv", 0, 11, rate=2)
    prints.append(open_aligned(path, **WINDOW).fingerprint)
    assert prints[0] == prints[1]
    assert len(set(prints)) == 3


def test_a_text_file_is_parsed_once_until_it_changes(tmp_path):
    write_ramp(tmp_path / "slow.csv", 0, 10, rate=2)
    path = write_table(tmp_path, "slow.csv", TIMES)
    parses = streams._parse_text.cache_info().misses
    for _ in range(3):
        open_aligned(path, **WINDOW)
    assert streams._parse_text.cache_info().misses == parses + 1
    write_ramp(tmp_path / "slow.csv", 1, 12, rate=2)
    assert open_aligned(path, **WINDOW).columns["stream"].values[0].tolist() == [[3.0, 3.5, 4.0, 4.5]]
    assert streams._parse_text.cache_info().misses == parses + 2


def test_the_kinds_are_described_without_the_streams(tmp_path):
    path = write_table(tmp_path, "s.csv", TIMES)
    assert describe(path=path, align={"stream": WINDOW}) == {"stream": "series", "tabular": "tabular"}
    assert describe(path=path, align={"stream": Alignment("at")}) == {"stream": "series", "tabular": "tabular"}
