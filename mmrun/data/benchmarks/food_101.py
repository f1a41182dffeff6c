"""UPMC Food-101: photographs of dishes with the titles of their web pages."""

from collections.abc import Iterator

from mmrun.data.benchmarks.benchmark import Benchmark, Modality, Row
from mmrun.data.benchmarks.source import Source

COLUMNS = ("image", "title", "class")  # of files without a header
SPLITS = ("train", "test")


def read_rows(source: Source) -> Iterator[Row]:
    """Yield a row for each title."""
    tables = {split: source.require(f"texts/{split}_titles.csv", f"{split}_titles.csv") for split in SPLITS}
    folders = {split: source.require(f"images/{split}", split) for split in SPLITS}
    for split in SPLITS:
        names = set()
        for cells in source.read_table(tables[split], COLUMNS, header=False):
            name = f"{folders[split]}/{cells['class']}/{cells['image']}"
            names.add(name)
            row: Row = {"id": f"{split}-{cells['image'].rpartition('.')[0]}", "image": source.take_file("image", name)}
            yield row | {"text": cells["title"], "dish": cells["class"], "split": split}
        for folder in source.list_folders(folders[split]):
            without_title = set(source.list_files(folder, "*.jpg")) - names
            if without_title:
                source.left_out["images without a title"] += len(without_title)


BENCHMARK = Benchmark(
    title="UPMC Food-101",
    paper="Wang et al., 2015",
    url="https://visiir.isir.upmc.fr/explore",
    size="90,704 images with titles of 101 dishes",
    license="none stated; images and texts belong to the owners of the web pages",
    layout=(
        "images/train/apple_pie/apple_pie_0.jpg (or train/...)",
        "images/test/...",
        "texts/train_titles.csv, texts/test_titles.csv (image, title, class; no header)",
    ),
    modalities={"image": Modality("image"), "text": Modality("text")},
    target="dish",
    task="classification",
    group=None,
    split="official train and test; mmrun draws val from train",
    metric="accuracy",
    num_rows=90704,
    read_rows=read_rows,
    caution="most titles name the dish",
)
