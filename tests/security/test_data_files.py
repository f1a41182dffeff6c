"""Files and cells that a stranger made: refused by `data check` and `train` in one line, within bounded memory."""

import resource
import struct
import time
import zlib
from pathlib import Path

import numpy as np
import pytest

from mmrun.cli import main

MEBIBYTE = 1 << 20


def png(width: int, height: int) -> bytes:
    """A PNG of one colour; the rows of a large one are left out, since no byte of them should be read."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    rows = zlib.compress(bytes(height * (width + 1)) if width < 100 else b"")
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def wav(rate: int) -> bytes:
    samples = bytes(2000)
    form = struct.pack("<HHIIHH", 1, 1, rate, rate * 2 & 0xFFFFFFFF, 2, 16)
    body = b"WAVEfmt " + struct.pack("<I", len(form)) + form + b"data" + struct.pack("<I", len(samples)) + samples
    return b"RIFF" + struct.pack("<I", len(body)) + body


def flac(num_samples: int) -> bytes:
    """A FLAC file whose header claims many samples, and that holds none."""
    rate, channels, bits = 16_000, 1, 16
    packed = rate << 44 | (channels - 1) << 41 | (bits - 1) << 36 | num_samples
    info = struct.pack(">HH", 4096, 4096) + bytes(6) + struct.pack(">Q", packed) + bytes(16)
    return b"fLaC" + b"\x80" + len(info).to_bytes(3, "big") + info


def npy(header: str) -> bytes:
    text = header.encode().ljust(118) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + bytes(64)


def npz(path: Path) -> None:
    np.savez(path.with_suffix(".npz"), values=np.zeros(4))
    path.with_suffix(".npz").rename(path)


def sparse_npy(path: Path) -> None:
    """An array of 2^40 zeros that takes no room on the disk."""
    path.write_bytes(npy("{'descr': '<f4', 'fortran_order': False, 'shape': (1099511627776,)}"))
    with path.open("r+b") as file:
        file.truncate(129 + (4 << 40))


CLAIMED = "{'descr': '<f4', 'fortran_order': False, 'shape': (1099511627776,)}"
OBJECTS = "{'descr': '|O', 'fortran_order': False, 'shape': (4,)}"
PCD = b"FIELDS x y z\nSIZE 4 4 4\nTYPE F F F\nPOINTS %d\nDATA binary%b\n"
XYZ = "property float x\nproperty float y\nproperty float z\n"
PLY = b"ply\nformat ascii 1.0\nelement vertex 40000000\n" + b"property float x\n" * 3 + b"end_header\n"
FILES = {
    "144 megapixels": ("bad.png", png(12_000, 12_000), "bad.png has 12000 x 12000 pixels; more than 67 million are"),
    "postscript": ("bad.png", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EOF\n", "bad.png is EPS, which is"),
    "not an image": ("bad.png", b"\x89PNG\r\n\x1a\n" + bytes(99), "bad.png is damaged or not an image"),
    "rate": ("bad.wav", wav(2**31 - 1), "bad.wav has a sample rate of 2147483647 Hz; at most 1048576 Hz are read"),
    "samples": ("bad.flac", flac(2**36 - 1), "bad.flac claims 68,719,476,735 samples; more than 134 million are"),
    "2^40 floats": ("bad.npy", npy(CLAIMED), "bad.npy is damaged or not a numeric array (ValueError)"),
    "pickle": ("bad.npy", npy(OBJECTS), "bad.npy is damaged or not a numeric array (ValueError)"),
    "sparse": ("bad.npy", sparse_npy, "'bad.npy' has 4,398,046,511,233 bytes; more than 2 GiB are refused"),
    "archive": ("bad.npy", npz, "bad.npy is damaged or not a numeric array (ValueError)"),
    "10^15 points": ("bad.pcd", PCD % (10**15, b""), "bad.pcd claims 1,000,000,000,000,000 points of 3 numbers; more"),
    "40 million points": ("bad.pcd", PCD % (4 * 10**7, b""), "bad.pcd claims 40,000,000 points, but ends before them"),
    "compressed points": (
        "bad.pcd",
        PCD % (9, b"_compressed"),
        "bad.pcd is a PCD file of the format 'binary_compressed'",
    ),
    "equal columns": ("bad.ply", PLY, "bad.ply has two columns of one name: x, x, x"),
    "text": ("bad.txt", b"a" * (17 * MEBIBYTE), "bad.txt is larger than 16 MiB; shorten it"),
}
CELLS = {
    "3,000 brackets": ("[" * 3000 + "]" * 3000, "more than 32 brackets inside each other"),
    "100,000 brackets": ("[" * 100_000, "more than 32 brackets inside each other"),
    "40 brackets": ("[" * 40 + "1" + "]" * 40, "more than 32 brackets inside each other"),
}


def good_file(path: Path, number: int) -> None:
    if path.suffix == ".png":
        path.write_bytes(png(8, 8))
    elif path.suffix in (".wav", ".flac"):
        path.write_bytes(wav(16_000))
    elif path.suffix == ".npy":
        np.save(path, np.arange(4.0) + number)
    elif path.suffix == ".pcd":
        path.write_bytes(PCD % (2, b"") + np.arange(number, number + 6, dtype="<f4").tobytes())
    elif path.suffix == ".ply":
        path.write_text(f"ply\nformat ascii 1.0\nelement vertex 1\n{XYZ}end_header\n1 2 {number}\n")
    else:
        path.write_text(f"a text of number {number}")


def write_manifest(folder: Path, bad: str, suffix: str) -> Path:
    """Twenty rows, of which one names or holds what is bad."""
    lines = ["x,label,split"]
    for number in range(20):
        name = f"{number}{suffix}"
        if suffix:
            good_file(folder / name, number)
        cell = bad if number == 3 else (name if suffix else '"[1, 2, 3]"')
        lines.append(f"{cell},{'ab'[number % 2]},{('train', 'train', 'val', 'test')[number // 2 % 4]}")
    file = folder / "my.csv"
    file.write_text("\n".join(lines) + "\n")
    return file


def check_and_train(file: Path, capsys: pytest.CaptureFixture[str], kind: str) -> tuple[str, str]:
    """Return what the two verbs print of the bad row; neither succeeds, nor takes much memory or time."""
    peak, started = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
    dataset = ["columns={x: [x]}", f"kinds={{x: {kind}}}"]
    assert main(["data", "check", str(file), *dataset]) == 2
    checked = capsys.readouterr()
    train = ["train", "dataset=manifest", f"dataset.path={file}", "dataset.columns={x: [x]}", "budget.steps=1"]
    train += [f"dataset.kinds={{x: {kind}}}", f"outputs={file.parent}/outputs", f"cache={file.parent}/cache"]
    assert main([*train, "trainer.progress=false"]) == 2
    trained = capsys.readouterr().err
    assert len([line for line in trained.splitlines() if not line.startswith("note: ")]) == 1
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak < 800 * 1024  # KiB
    assert time.monotonic() - started < 30
    return checked.out + checked.err, trained


@pytest.mark.parametrize("attack", FILES)
def test_a_file_beyond_the_limits_is_refused(attack, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    name, content, message = FILES[attack]
    bad = tmp_path / name
    if callable(content):
        content(bad)
    else:
        bad.write_bytes(content)
    kinds = {".png": "image", ".wav": "audio", ".flac": "audio", ".npy": "series", ".txt": "text"}
    kinds |= {".ply": "points", ".pcd": "points"}
    file = write_manifest(tmp_path, name, ".wav" if bad.suffix == ".flac" else bad.suffix)
    for printed in check_and_train(file, capsys, kinds[bad.suffix]):
        assert f"my.csv:5: column 'x': {message}" in printed


@pytest.mark.parametrize("attack", CELLS)
def test_a_cell_of_brackets_is_refused(attack, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    cell, message = CELLS[attack]
    file = write_manifest(tmp_path, f'"{cell}"', "")
    for printed in check_and_train(file, capsys, "series"):
        assert "my.csv:5: column 'x': " in printed
        assert "is not a series" in printed or message in printed


@pytest.mark.parametrize("link", ["file", "folder", "chain"])
def test_a_link_out_of_the_folder_is_refused(link, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    inside.mkdir()
    outside.mkdir()
    good_file(outside / "secret.npy", 0)
    if link == "file":
        (inside / "bad.npy").symlink_to(outside / "secret.npy")
    else:
        (inside / "hop").symlink_to(outside)
    if link == "chain":
        (inside / "hop2").symlink_to("hop")
    cell = {"file": "bad.npy", "folder": "hop/secret.npy", "chain": "hop2/secret.npy"}[link]
    file = write_manifest(inside, cell, ".npy")
    message = f"'{cell}' is a link out of {inside}; copy the file, or set dataset.allow_outside=true"
    for printed in check_and_train(file, capsys, "series"):
        assert f"my.csv:5: column 'x': {message}" in printed
    assert main(["data", "check", str(file), "columns={x: [x]}", "kinds={x: series}", "allow_outside=true"]) == 0


def test_a_link_inside_the_folder_is_followed(tmp_path, capsys):
    good_file(tmp_path / "real.npy", 0)
    (tmp_path / "link.npy").symlink_to("real.npy")
    file = write_manifest(tmp_path, "link.npy", ".npy")
    assert main(["data", "check", str(file), "columns={x: [x]}", "kinds={x: series}"]) == 0


def test_a_line_without_end_is_refused(tmp_path, capsys):
    file = tmp_path / "my.csv"
    with file.open("wb") as stream:
        stream.write(b"x,label\n1,a\n")
        stream.truncate(1 << 40)
    assert main(["data", "check", str(file), "target=label"]) == 2
    assert "my.csv:" in capsys.readouterr().err
