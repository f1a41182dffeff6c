"""Draw a toy of easy-VQA (Zhou, 2019): questions about pictures of one coloured shape, in the layout of its package.

Whether an answer needs the picture can be controlled: the questions alone reveal what kind of answer is asked for.
"""

import json
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from mmrun.testing.easy_vqa import write_easy_vqa

FOLDER = Path(__file__).parent / "data"
NUM_PICTURES = {"train": 300, "test": 100}
SIDE = 32  # pixels
COLOURS = {"red": (220, 40, 40), "green": (40, 180, 60), "blue": (40, 60, 220), "black": (0, 0, 0)}
SHAPES = ("circle", "rectangle", "triangle")


def main() -> None:
    """Write the package's data, and mmrun's manifest of it."""
    rng = np.random.default_rng(0)
    for part, count in NUM_PICTURES.items():
        images = FOLDER / "package" / part / "images"
        images.mkdir(parents=True, exist_ok=True)
        questions: list[tuple[str, str, int]] = []
        for number in range(count):
            shape, colour = str(rng.choice(SHAPES)), str(rng.choice(list(COLOURS)))
            draw_shape(rng, shape, colour).save(images / f"{number}.png")
            questions += [(question, answer, number) for question, answer in ask(rng, shape, colour)]
        (images.parent / "questions.json").write_text(json.dumps(questions))
    print(write_easy_vqa(FOLDER / "package", FOLDER))


def draw_shape(rng: np.random.Generator, shape: str, colour: str) -> Image.Image:
    """Draw a shape at a random place of a light background."""
    picture = Image.new("RGB", (SIDE, SIDE), tuple(rng.integers(220, 256, 3).tolist()))
    draw = ImageDraw.Draw(picture)
    size = int(rng.integers(12, 18))
    x, y = rng.integers(1, SIDE - size - 1, 2).tolist()
    if shape == "circle":
        draw.ellipse([x, y, x + size, y + size], fill=COLOURS[colour])
    elif shape == "rectangle":
        draw.rectangle([x, y + size // 5, x + size, y + size - size // 5], fill=COLOURS[colour])
    else:
        draw.polygon([(x, y + size), (x + size, y + size), (x + size // 2, y)], fill=COLOURS[colour])
    return picture


def ask(rng: np.random.Generator, shape: str, colour: str) -> list[tuple[str, str]]:
    """Return four questions with their answers: of each kind one is about the shape, and one about the colour."""
    other_shape, other_colour = str(rng.choice(SHAPES)), str(rng.choice(list(COLOURS)))
    return [
        ("what shape is in the image?", shape),
        ("what color is the shape?", colour),
        (f"is there a {other_shape} in the image?", "yes" if other_shape == shape else "no"),
        (f"is there a {other_colour} shape?", "yes" if other_colour == colour else "no"),
    ]


if __name__ == "__main__":
    main()
