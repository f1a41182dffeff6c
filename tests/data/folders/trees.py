"""The same few pictures of cats and dogs, in each layout of files that is read."""

import io
import json
import shutil
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pyarrow
from PIL import Image
from pyarrow import ipc, parquet

SPLITS = {"test": 2, "train": 8, "val": 2}  # pictures of each class
FEATURES = {"image": {"_type": "Image"}, "label": {"names": ["cat", "dog"], "_type": "ClassLabel"}}
METADATA = {"huggingface": json.dumps({"info": {"features": FEATURES}})}


def write_tree(folder):
    """Write pictures by split and class, and return their names in the order in which they are read."""
    random = np.random.default_rng(0)
    names = []
    for split, count in SPLITS.items():
        for label in ("cat", "dog"):
            (folder / split / label).mkdir(parents=True)
            for number in range(count):
                pixels = random.integers(0, 255, (12, 12, 3), dtype=np.uint8)
                name = f"{split}/{label}/{number}.png"
                Image.fromarray(pixels).save(folder / name)
                names.append(name)
    return names


def write_tar(path, contents, mode="w"):
    """Write a tar archive of bytes by name."""
    with tarfile.open(path, mode) as archive:
        for name, content in contents.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return str(path)


def write_zip(path, contents):
    """Write a zip archive of bytes by name."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in contents.items():
            archive.writestr(name, content)
    return str(path)


def read_tree(tree):
    """Return the content of all files of a folder, by name."""
    return {str(file.relative_to(tree)): file.read_bytes() for file in sorted(tree.rglob("*")) if file.is_file()}


def write_csv(folder, tree):
    lines = [f"tree/{name},{name.split('/')[1]},{name.split('/')[0]}" for name in read_tree(tree)]
    (folder / "rows.csv").write_text("\n".join(["image,label,split", *lines]) + "\n")
    return str(folder / "rows.csv")


def write_hugging_face(folder, tree):
    """Write a folder by split, with a metadata file in each."""
    for name in read_tree(tree):
        split, label, last = name.split("/")
        target = folder / "hub" / split
        target.mkdir(parents=True, exist_ok=True)
        shutil.copy(tree / name, target / f"{label}-{last}")
        with (target / "metadata.jsonl").open("a") as file:
            file.write(json.dumps({"file_name": f"{label}-{last}", "label": label}) + "\n")
    return str(folder / "hub")


def write_shards(folder, tree):
    """Write WebDataset shards, one a split."""
    (folder / "shards").mkdir()
    for split in SPLITS:
        contents = {}
        for number, (name, content) in enumerate(read_tree(tree / split).items()):
            contents |= {f"{number:04}.png": content, f"{number:04}.cls": name.split("/")[0].encode()}
        write_tar(folder / "shards" / f"{split}-000.tar", contents)
    return str(folder / "shards")


def write_parquet(folder, tree):
    """Write Parquet files as the hub has them, one a split, with the pictures in their cells."""
    (folder / "parquet" / "data").mkdir(parents=True)
    for split in SPLITS:
        table = make_arrow(tree / split)
        parquet.write_table(table, folder / "parquet" / "data" / f"{split}-00000-of-00001.parquet")
    return str(folder / "parquet")


def write_saved(folder, tree):
    """Write what `DatasetDict.save_to_disk` writes."""
    root = folder / "saved"
    for split in SPLITS:
        (root / split).mkdir(parents=True)
        table = make_arrow(tree / split)
        with ipc.new_stream(str(root / split / "data-00000-of-00001.arrow"), table.schema) as stream:
            stream.write_table(table)
        state = {"_data_files": [{"filename": "data-00000-of-00001.arrow"}], "_indices_data_files": None}
        (root / split / "state.json").write_text(json.dumps(state))
        (root / split / "dataset_info.json").write_text(json.dumps({"features": FEATURES}))
    (root / "dataset_dict.json").write_text(json.dumps({"splits": list(SPLITS)}))
    return str(root)


def make_arrow(tree: Path) -> pyarrow.Table:
    """Return the pictures of a folder by class as the Arrow table of a Hugging Face data set."""
    contents = read_tree(tree)
    labels = [["cat", "dog"].index(name.split("/")[0]) for name in contents]
    images = [{"bytes": content, "path": name} for name, content in contents.items()]
    return pyarrow.table({"image": images, "label": labels}).replace_schema_metadata(METADATA)


LAYOUTS = {
    "folders by split and class": lambda folder, tree: str(tree),
    "csv": write_csv,
    "metadata.jsonl": write_hugging_face,
    "webdataset": write_shards,
    "parquet": write_parquet,
    "save_to_disk": write_saved,
    "tar": lambda folder, tree: write_tar(folder / "tree.tar", read_tree(tree)),
    "tar.gz": lambda folder, tree: write_tar(folder / "tree.tar.gz", read_tree(tree), "w:gz"),
    "zip": lambda folder, tree: write_zip(folder / "tree.zip", read_tree(tree)),
    "zip of shards": lambda folder, tree: write_zip(folder / "shards.zip", read_tree(Path(write_shards(folder, tree)))),
}
