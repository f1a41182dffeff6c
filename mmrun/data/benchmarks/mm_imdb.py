"""MM-IMDb: genres of films from posters and plots."""

from collections.abc import Iterator

from mmrun.data.benchmarks.benchmark import Benchmark, Modality, Row
from mmrun.data.benchmarks.source import Source, check_fields
from mmrun.errors import DataError

SPLITS = {"train": "train", "dev": "val", "test": "test"}
GENRES = (  # the 23 of the paper
    *("Action", "Adventure", "Animation", "Biography", "Comedy", "Crime", "Documentary", "Drama"),
    *("Family", "Fantasy", "Film-Noir", "History", "Horror", "Music", "Musical", "Mystery"),
    *("Romance", "Sci-Fi", "Short", "Sport", "Thriller", "War", "Western"),
)


def read_rows(source: Source) -> Iterator[Row]:
    """Yield a row for each film that has one of the 23 genres."""
    name = source.require("split.json")
    source.require("dataset")
    splits = check_fields(source.read_json(name), list(SPLITS), name)
    for part, split in SPLITS.items():
        films = splits[part]
        if not isinstance(films, list):
            raise DataError(f"{name}: '{part}' is not a list; get the file again")
        for film in map(str, films):
            poster = source.take_file("image", f"dataset/{film}.jpeg")
            description = source.take_file("text", f"dataset/{film}.json")
            if description is None:
                source.left_out["films without .json, which has the genres"] += 1
                continue
            plot, genres = _read_film(source, description)
            if not genres:
                source.left_out["films of none of the 23 genres"] += 1
                continue
            yield {"id": film, "image": poster, "text": plot, "genres": "|".join(genres), "split": split}


def _read_film(source: Source, name: str) -> tuple[str | None, list[str]]:
    """Return the longest plot, as the paper does, and the genres."""
    film = check_fields(source.read_json(name), ["genres"], name)
    plots, names = film.get("plot") or [], film["genres"]
    if not isinstance(plots, list) or not isinstance(names, list):
        raise DataError(f"{name}: 'plot' and 'genres' are not lists; get the file again")
    plot = max(map(str, plots), key=len, default=None)
    return plot, [genre for genre in GENRES if genre in names]


BENCHMARK = Benchmark(
    title="MM-IMDb",
    paper="Arevalo et al., 2017",
    url="https://archive.org/download/mmimdb",
    size="25,959 films; about 8 GB",
    license="none stated; posters and plots belong to their owners",
    layout=("split.json", "dataset/0092108.json", "dataset/0092108.jpeg"),
    modalities={"image": Modality("image"), "text": Modality("text")},
    target="genres",
    task="multilabel",
    group=None,
    split="official",
    metric="F1, micro, macro, weighted and by samples",
    num_rows=25959,
    read_rows=read_rows,
)
