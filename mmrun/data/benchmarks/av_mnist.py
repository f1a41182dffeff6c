"""AV-MNIST: degraded digits with spectrograms of spoken ones, stored as arrays."""

from collections.abc import Iterator
from io import BytesIO

import numpy as np

from mmrun.data.benchmarks.benchmark import Benchmark, Modality, Row
from mmrun.data.benchmarks.source import Source
from mmrun.data.limits import MAX_PIXELS, open_array
from mmrun.errors import DataError

SPLITS = ("train", "test")
VALIDATION_SHARE = 12  # one in so many training rows, the last ones: 5,000 of 60,000


def read_rows(source: Source) -> Iterator[Row]:
    """Yield a row for each digit; image and spectrogram are images in its cells."""
    for split in SPLITS:
        names = [f"image/{split}_data.npy", f"audio/{split}_data.npy", f"{split}_labels.npy"]
        images, sounds, labels = (_open(source, name) for name in names)
        lengths = [len(images), len(sounds), len(labels)]
        if len(set(lengths)) > 1:
            raise DataError(f"{names[0]}, {names[1]} and {names[2]} have {lengths} rows; get the files again")
        if labels.ndim != 1 or not (np.isfinite(labels) & (labels == np.round(labels))).all():
            raise DataError(f"{names[2]}: is not a list of digits; get the file again")
        first_validation = len(labels) - len(labels) // VALIDATION_SHARE if split == "train" else len(labels)
        for row in range(len(labels)):
            yield {
                "id": f"{split}-{row}",
                "image": _encode_image(images[row], names[0]),
                "spectrogram": _encode_image(sounds[row], names[1]),
                "digit": str(int(labels[row])),
                "split": "val" if row >= first_validation else split,
            }


def _open(source: Source, name: str) -> np.ndarray:
    array = open_array(source.locate(source.require(name)), limited=False)  # one row is in memory at a time
    if array.ndim == 0 or array.dtype.kind not in "uif":
        raise DataError(f"{name}: is not an array of numbers; get the file again")
    return array


def _encode_image(values: np.ndarray, name: str) -> bytes:
    """Encode a square channel as PNG if its values are whole numbers from 0 to 255, else as TIFF of floats."""
    from PIL import Image

    side = round(values.size**0.5)
    if side * side != values.size or not 0 < values.size <= MAX_PIXELS:
        raise DataError(f"{name}: a row has {values.size} values, which is no square image; get the file again")
    square = np.asarray(values, dtype=np.float32).reshape(side, side)
    is_whole = bool(((square == np.round(square)) & (square >= 0) & (square <= 255)).all())
    stream = BytesIO()
    Image.fromarray(square.astype(np.uint8) if is_whole else square).save(stream, "PNG" if is_whole else "TIFF")
    return stream.getvalue()


BENCHMARK = Benchmark(
    title="AV-MNIST",
    paper="Vielzeuf et al., 2018",
    url="https://github.com/pliang279/MultiBench (avmnist.tar.gz)",
    size="70,000 pairs of digits",
    license="none stated; built from MNIST (CC BY-SA 3.0) and recordings of spoken digits",
    layout=(
        "image/train_data.npy, image/test_data.npy [N, 784]",
        "audio/train_data.npy, audio/test_data.npy [N, 112, 112]",
        "train_labels.npy, test_labels.npy [N]",
    ),
    modalities={"image": Modality("image"), "spectrogram": Modality("image")},
    target="digit",
    task="classification",
    group=None,
    split="official; val is the last twelfth of train, as in MultiBench",
    metric="accuracy",
    num_rows=70000,
    read_rows=read_rows,
    caution="sounds are stored as spectrograms, which are read as images",
    suffix=".parquet",
)
