"""KITTI: camera images and lidar scans of traffic, with the objects in them."""

import json
import re
from collections import Counter
from collections.abc import Iterator

from mmrun.data.benchmarks.benchmark import Benchmark, Modality, Row
from mmrun.data.benchmarks.source import Source
from mmrun.errors import DataError

TYPES = ("Car", "Van", "Truck", "Pedestrian", "Person_sitting", "Cyclist", "Tram", "Misc")
FRAME = re.compile(r"[0-9]{6}")
IGNORED = "DontCare"
COUNTED = {"Car": "cars", "Pedestrian": "pedestrians", "Cyclist": "cyclists"}
OPTIONAL = {  # columns whose folder may be missing
    "lidar": ("velodyne", ".bin"),
    "radar": ("radar", ".pcd"),  # not of KITTI, but of data sets in its layout
    "calib": ("calib", ".txt"),
}
NUM_FIELDS = 15  # type, truncated, occluded, alpha, 4 of the box, 3 dimensions, 3 of the location, rotation_y


def read_rows(source: Source) -> Iterator[Row]:
    """Yield a row for each labelled frame."""
    source.require("training/label_2")
    source.require("training/image_2")
    optional = {column: place for column, place in OPTIONAL.items() if source.find(f"training/{place[0]}")}
    for column in sorted(OPTIONAL.keys() - optional.keys() - {"radar"}):
        source.notes.append(f"training/{OPTIONAL[column][0]} is not there, so the manifest has no column {column}")
    drives, splits = _read_drives(source), _read_splits(source)
    for name in source.list_files("training/label_2", "*.txt"):
        frame = name.rpartition("/")[2].removesuffix(".txt")
        if not FRAME.fullmatch(frame):
            raise DataError(f"{name}: is not named like 000000.txt; remove or rename it")
        boxes = list(_read_boxes(source, name))
        counts = Counter(str(box["type"]) for box in boxes)
        row: Row = {"id": frame, "image": source.take_file("image", f"training/image_2/{frame}.png")}
        for column, (folder, suffix) in optional.items():
            row[column] = source.take_file(column, f"training/{folder}/{frame}{suffix}")
        row |= {"objects": "|".join(kind for kind in TYPES if counts[kind]) or "|", "boxes": json.dumps(boxes)}
        row |= {column: counts[kind] for kind, column in COUNTED.items()}
        if drives is not None:
            if frame not in drives:
                raise DataError(f"{name}: the mapping of the development kit does not name this frame; get it again")
            row["drive"] = drives[frame]
        yield row if splits is None else row | {"split": splits.get(frame, "train")}


def _read_boxes(source: Source, name: str) -> Iterator[dict[str, object]]:
    """Yield type and bounding box (left, top, right, bottom, in pixels) of each object."""
    for number, line in enumerate(source.read_text(name).splitlines(), start=1):
        fields = line.split()
        if not fields or fields[0] == IGNORED:
            continue
        try:
            box = [float(field) for field in fields[4:8]]
        except ValueError:
            box = []
        if len(fields) != NUM_FIELDS or len(box) != 4 or fields[0] not in TYPES:
            raise DataError(f"{name}:{number}: is not a label of KITTI, a type and 14 numbers; get the file again")
        yield {"type": fields[0], "box": box}


def _read_drives(source: Source) -> dict[str, str] | None:
    """Return the drive by frame, from the mapping of the development kit; None if it is not there."""
    folders = ("mapping", "devkit_object/mapping", "devkit/mapping")
    mapping = source.find(*(f"{folder}/train_mapping.txt" for folder in folders))
    order = source.find(*(f"{folder}/train_rand.txt" for folder in folders))
    if mapping is None or order is None:
        source.notes.append(
            "mapping/train_mapping.txt and mapping/train_rand.txt (of devkit_object.zip) are not there: frames of one "
            "drive may be in training and test rows; unpack the kit there to split by drive"
        )
        return None
    lines = source.read_text(mapping).splitlines()
    try:
        numbers = [int(number) for number in source.read_text(order).split(",") if number.strip()]
        return {f"{frame:06}": lines[number - 1].split()[1] for frame, number in enumerate(numbers)}
    except (ValueError, IndexError):
        raise DataError(f"{order}: does not fit {mapping}; get the files again") from None


def _read_splits(source: Source) -> dict[str, str] | None:
    """Return the split by frame that ImageSets/train.txt and val.txt name; None if they are not there."""
    names = {"train": "ImageSets/train.txt", "test": "ImageSets/val.txt"}
    if not all(source.has_file(name) for name in names.values()):
        return None
    splits: dict[str, str] = {}
    for split, name in names.items():
        splits |= dict.fromkeys(source.read_text(name).split(), split)
    return splits


BENCHMARK = Benchmark(
    title="KITTI",
    paper="Geiger et al., 2012",
    url="https://www.cvlibs.net/datasets/kitti/eval_object.php",
    size="7,481 labelled frames; images 12 GB, lidar scans 29 GB",
    license="CC BY-NC-SA 3.0",
    layout=(
        "training/image_2/000000.png",
        "training/label_2/000000.txt",
        "training/calib/000000.txt",
        "training/velodyne/000000.bin (if it is there)",
        "training/radar/000000.pcd (of data sets in this layout; KITTI has none)",
        "mapping/train_mapping.txt, mapping/train_rand.txt (of devkit_object.zip)",
        "ImageSets/train.txt, ImageSets/val.txt (the split of Chen et al., 2015, if it is there)",
    ),
    modalities={"image": Modality("image"), "lidar": Modality("points"), "radar": Modality("points")},
    target="objects",
    task="multilabel",
    group="drive",
    split="ImageSets/val.txt is test, if it is there; else mmrun draws 80/10/10 by drive",
    metric="average precision of boxes, which mmrun does not detect; here F1 of the types that are in the image",
    num_rows=7481,
    read_rows=read_rows,
    caution="calibration and boxes are columns that a run leaves unused",
)
