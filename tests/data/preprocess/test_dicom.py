"""DICOM pictures: grey levels in their unit, and nothing of their headers in a message."""

import tarfile
from pathlib import Path

import numpy as np
import pytest

from mmrun.data.preprocess.dicom import read_dicom, read_dicom_header
from mmrun.data.preprocess.image import Pixels
from mmrun.data.subfiles import format_subfile
from mmrun.errors import DataError
from tests.data.preprocess.fitted import fitted

pydicom = pytest.importorskip("pydicom")
LEVELS = np.arange(600, dtype=np.uint16).reshape(20, 30) * 6  # below 4096


def write_dicom(path, pixels, photometric="MONOCHROME2", syntax="1.2.840.10008.1.2.1", **elements):
    """Write a picture [H, W], [H, W, 3] or, with NumberOfFrames, [frames, H, W]."""
    meta = pydicom.dataset.FileMetaDataset()
    meta.TransferSyntaxUID = syntax
    meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.7"
    meta.MediaStorageSOPInstanceUID = "1.2.3"
    dataset = pydicom.Dataset()
    dataset.file_meta = meta
    dataset.PatientName = "Doe^Jane"
    dataset.Rows, dataset.Columns = pixels.shape[1:3] if "NumberOfFrames" in elements else pixels.shape[:2]
    dataset.SamplesPerPixel = 3 if photometric == "RGB" else 1
    dataset.PlanarConfiguration = 0
    dataset.PhotometricInterpretation = photometric
    dataset.BitsAllocated = dataset.BitsStored = pixels.dtype.itemsize * 8
    dataset.HighBit = dataset.BitsStored - 1
    dataset.PixelRepresentation = int(pixels.dtype.kind == "i")
    dataset.PixelData = pixels.tobytes()
    for name, value in elements.items():
        setattr(dataset, name, value)
    dataset.save_as(path, enforce_file_format=True)
    return path


def test_grey_levels_are_read_as_they_are(tmp_path):
    path = write_dicom(tmp_path / "a.dcm", LEVELS, BitsStored=12, HighBit=11)
    assert read_dicom(path)[0].tolist() == LEVELS.tolist()
    assert read_dicom_header(path) == ((1, 20, 30), True, 1)


def test_a_file_in_a_tar_archive_is_read_where_it_lies(tmp_path):
    path = write_dicom(tmp_path / "a.dcm", LEVELS)
    with tarfile.open(tmp_path / "shard.tar", "w") as archive:
        archive.add(path, "a.dcm")
    with tarfile.open(tmp_path / "shard.tar") as archive:
        member = archive.getmember("a.dcm")
    inside = Path(format_subfile(str(tmp_path / "shard.tar"), member.offset_data, member.size, "a.dcm"))
    assert read_dicom(inside)[0].tolist() == LEVELS.tolist()
    assert read_dicom_header(inside) == ((1, 20, 30), True, 1)


def test_stored_numbers_are_rescaled(tmp_path):
    path = write_dicom(tmp_path / "a.dcm", LEVELS.astype(np.int16), RescaleSlope=2, RescaleIntercept=-1024)
    assert read_dicom(path)[0, 0, :3].tolist() == [-1024, -1012, -1000]


def test_monochrome1_is_inverted(tmp_path):
    path = write_dicom(tmp_path / "a.dcm", LEVELS, "MONOCHROME1", BitsStored=12, HighBit=11)
    assert read_dicom(path)[0].tolist() == (4095 - LEVELS).tolist()
    small = write_dicom(tmp_path / "b.dcm", (LEVELS // 16).astype(np.uint8), "MONOCHROME1")
    assert read_dicom(small)[0, 0, 0] == 255


def test_colours_are_channels(tmp_path):
    colours = np.stack([LEVELS // 16] * 2 + [LEVELS * 0], axis=2).astype(np.uint8)
    path = write_dicom(tmp_path / "a.dcm", colours, "RGB")
    assert read_dicom(path).tolist() == colours.transpose(2, 0, 1).tolist()


def test_of_several_frames_the_first_is_read_and_said(tmp_path):
    path = write_dicom(tmp_path / "a.dcm", np.stack([LEVELS, LEVELS * 0]), NumberOfFrames=2)
    pixels = fitted(Pixels(20), "image", [path])
    assert read_dicom(path)[0].tolist() == LEVELS.tolist()
    assert pixels.notes[-1] == "1 of 1 images have several frames or pages; the first one is read"
    assert pixels.decode(path)[""].max() > 0.9


@pytest.mark.parametrize(
    ("elements", "message"),
    [
        ({"Rows": 60000, "Columns": 60000}, "a.dcm has 60000 x 60000 pixels; 1 to 67 million are read, so resize it"),
        ({"Rows": 50}, "a.dcm has damaged pixels (ValueError); replace it"),
        ({"NumberOfFrames": 900_000}, "a.dcm has 900,000 frames of 30 x 20 pixels; split it"),
    ],
)
def test_headers_that_claim_too_much(tmp_path, elements, message):
    frames = LEVELS[None] if "NumberOfFrames" in elements else LEVELS
    path = write_dicom(tmp_path / "a.dcm", frames, **elements)
    with pytest.raises(DataError) as error:
        read_dicom(path)
    assert str(error.value) == message


def test_files_that_are_not_pictures(tmp_path):
    path = tmp_path / "a.dcm"
    path.write_text("hello")
    with pytest.raises(DataError, match=r"^a\.dcm is damaged or not a DICOM file \(InvalidDicomError\); replace it$"):
        read_dicom(path)
    write_dicom(path, LEVELS)
    dataset = pydicom.dcmread(path)
    del dataset.Rows
    dataset.save_as(path)
    with pytest.raises(DataError, match=r"^a\.dcm is a DICOM file without a picture; leave it out$"):
        read_dicom(path)


def test_compression_that_is_not_decoded_names_what_decodes_it(tmp_path):
    path = write_dicom(tmp_path / "a.dcm", LEVELS)
    dataset = pydicom.dcmread(path)
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.JPEGLosslessSV1
    dataset.PixelData = pydicom.encaps.encapsulate([b"\xff\xd8" + bytes(100)])
    dataset["PixelData"].is_undefined_length = True
    dataset.save_as(path)
    with pytest.raises(DataError) as error:
        read_dicom(path)
    assert str(error.value).startswith("a.dcm is compressed as JPEG Lossless")
    assert "install 'pylibjpeg[all]'" in str(error.value)
    assert "Doe" not in str(error.value)
