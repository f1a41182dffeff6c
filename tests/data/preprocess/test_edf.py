"""EDF files: signals in physical units, and damage in one line."""

import numpy as np
import pytest

from mmrun.data.preprocess.series_files import read_rate, read_series
from mmrun.errors import DataError

edfio = pytest.importorskip("edfio")


@pytest.fixture
def recording(tmp_path):
    signals = [edfio.EdfSignal(np.linspace(-scale, scale, 400), 100, label="EEG") for scale in (1, 5)]
    patient = edfio.Patient(name="Jane_Doe")
    edfio.Edf(signals, patient=patient).write(tmp_path / "two.edf")
    return tmp_path / "two.edf"


def test_signals_are_channels_in_physical_units(recording):
    series = read_series(recording)
    assert (series.shape, read_rate(recording)) == ((2, 400), 100.0)
    assert series[:, 0].tolist() == pytest.approx([-1, -5], abs=1e-3)


def test_bdf_files_have_24_bits(tmp_path):
    edfio.Bdf([edfio.BdfSignal(np.linspace(-1, 1, 200), 100)]).write(tmp_path / "one.bdf")
    assert read_series(tmp_path / "one.bdf")[0, -1] == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda content: content[: len(content) // 2], "two.edf is cut off: it has 1 of 4 data records; replace it"),
        (lambda content: content[:200], "two.edf is damaged or not an EDF file (ValueError); replace it"),
        (lambda content: b"hello", "two.edf is damaged or not an EDF file (ValueError); replace it"),
        (
            lambda content: content[:236] + b"99999999" + content[244:],
            "two.edf is cut off: it has 4 of 99,999,999 data records; replace it",
        ),
        (
            lambda content: content[:252] + b"9999" + content[256:],
            "two.edf is damaged or not an EDF file (IndexError); replace it",
        ),
    ],
)
def test_damaged_files(recording, damage, message):
    recording.write_bytes(damage(recording.read_bytes()))
    with pytest.raises(DataError) as error:
        read_series(recording)
    assert str(error.value) == message


def test_signals_of_several_rates_are_an_error(tmp_path):
    edfio.Edf([edfio.EdfSignal(np.ones(200), 100), edfio.EdfSignal(np.ones(2), 1)]).write(tmp_path / "a.edf")
    with pytest.raises(DataError) as error:
        read_series(tmp_path / "a.edf")
    assert str(error.value) == "a.edf has signals at 1, 100 Hz; export it at one rate, or convert it to .npy"
