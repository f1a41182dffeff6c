"""WFDB records: samples of every format, and headers that cannot be trusted."""

import numpy as np
import pytest

from mmrun.data.preprocess.series_files import read_rate, read_series
from mmrun.data.preprocess.wfdb_records import list_signal_files, read_record
from mmrun.errors import DataError

STEPS = np.array([[1, -2], [300, -300], [2047, -2047]])  # [steps, signals]


def write_record(folder, samples, number_format, header="r 2 360 3", signal="100(0)/mV 12 0 0 0 0 lead"):
    (folder / "r.dat").write_bytes(samples)
    lines = [header, *[f"r.dat {number_format} {signal}"] * 2, "# Jane Doe, 1970"]
    (folder / "r.hea").write_text("\n".join(lines) + "\n")
    return folder / "r.hea"


def pack_212(samples):
    pairs = samples.reshape(-1, 2) & 0xFFF
    low, high = pairs.T
    return np.stack([low & 0xFF, low >> 8 | high >> 8 << 4, high & 0xFF], axis=1).astype(np.uint8).tobytes()


def pack_24(samples):
    return samples.astype("<i4").reshape(-1, 1).view(np.uint8)[:, :3].tobytes()


@pytest.mark.parametrize(
    ("number_format", "samples"),
    [
        ("16", STEPS.astype("<i2").tobytes()),
        ("61", STEPS.astype(">i2").tobytes()),
        ("160", (STEPS + 32768).astype("<u2").tobytes()),
        ("24", pack_24(STEPS)),
        ("32", STEPS.astype("<i4").tobytes()),
        ("212", pack_212(STEPS)),
    ],
)
def test_samples_are_read_in_physical_units(tmp_path, number_format, samples):
    record = read_record(write_record(tmp_path, samples, number_format))
    np.testing.assert_allclose(record, STEPS / 100, atol=1e-6)


def test_a_byte_per_sample(tmp_path):
    record = write_record(tmp_path, bytes([128, 129, 127, 228]), "80", header="r 2 360 2")
    np.testing.assert_allclose(read_record(record), [[0, 0.01], [-0.01, 1]], atol=1e-6)


def test_gain_baseline_and_rate_come_from_the_header(tmp_path):
    record = write_record(tmp_path, STEPS.astype("<i2").tobytes(), "16", "r 2 250/1(0) 3", "10(100)")
    assert (read_record(record)[0].tolist(), read_rate(record)) == (pytest.approx([-9.9, -10.2]), 250.0)
    assert read_series(record).shape == (2, 3)
    plain = write_record(tmp_path, STEPS.astype("<i2").tobytes(), "16", "r 2", "")
    assert (read_record(plain)[1].tolist(), read_rate(plain)) == ([1.5, -1.5], 250.0)


def test_a_marked_sample_is_a_gap(tmp_path):
    record = write_record(tmp_path, np.array([[-32768, 5]], dtype="<i2").tobytes(), "16", "r 2 360 1")
    assert np.isnan(read_record(record)).tolist() == [[True, False]]


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("junk", "r.hea is damaged or not the header of a WFDB record; download it again"),
        ("r 2 360 3\nr.dat 16", "r.hea is damaged: it lacks some of the 2 signals; download it again"),
        (
            "r/3 2 360 3\na 1\nb 1",
            "r.hea is a record of several segments, which is not read; name the segments' headers",
        ),
        (
            "r 1 360 3\nr.dat 516",
            "r.hea has signals of format '516', which is not read (only 16, 61, 80, 160, 24, 32, 212); "
            "convert it with WFDB's xform, or to .npy",
        ),
        ("r 1 360 9999999999\nr.dat 16", "r.hea claims 9,999,999,999 values; more than 134 million are refused"),
        (
            "r 1 360 3\n../r.dat 16",
            "r.hea names a signal file in another folder; put all files of a record together",
        ),
        (
            "r 1 360 3\n/etc/passwd 16",
            "r.hea names a signal file in another folder; put all files of a record together",
        ),
        ("r 1 360 3\ngone.dat 16", "gone.dat, which r.hea names, does not exist; put it beside the header"),
        ("r 1 360 99\nr.dat 16", "r.dat is cut off: r.hea says 99 steps; download it again"),
    ],
)
def test_unusable_records(tmp_path, header, message):
    record = write_record(tmp_path, STEPS.astype("<i2").tobytes(), "16")
    record.write_text(header)
    with pytest.raises(DataError) as error:
        read_record(record)
    assert str(error.value) == message


def test_the_files_of_a_record_are_known_without_reading_them(tmp_path):
    assert list_signal_files(write_record(tmp_path, b"", "16")) == ["r.dat"]
