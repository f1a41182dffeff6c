"""Write a toy of MELD (Poria et al., 2019) in its layout: utterances with text, sound and a frame of the speaker.

The sentiment shows in the word that a speaker chooses, in whether the pitch rises or falls, and in the mouth: each
says something else in 30% of the utterances. Sounds and frames are often missing. Speakers have their own pitch,
colour and favourite sentiment, so that a model may learn to recognise speakers in place of sentiments.
"""

import csv
import wave
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

FOLDER = Path(__file__).parent / "data" / "MELD.Raw"
PARTS = {  # by table: the folder of its files, and the number of its utterances
    "train/train_sent_emo.csv": ("train/train_splits", 800),
    "dev_sent_emo.csv": ("dev/dev_splits_complete", 100),
    "test_sent_emo.csv": ("test/output_repeated_splits_test", 100),
}
COLUMNS = ("Sr No.", "Utterance", "Speaker", "Emotion", "Sentiment", "Dialogue_ID", "Utterance_ID")
SENTIMENTS = ("negative", "neutral", "positive")
EMOTIONS = ("sadness", "neutral", "joy")
WORDS = (("awful", "terrible", "sad"), ("usual", "plain", "normal"), ("great", "lovely", "wonderful"))
SENTENCES = ("well, that was {} of you", "it is a {} day", "so we had a {} dinner", "you look {} today")
NUM_SPEAKERS = 30
CONTRADICTION, FAVOURITE = 0.3, 0.6  # how often a modality says something else; how often it is the favourite sentiment
MISSING = {".wav": 0.2, ".jpg": 0.4}
RATE, SECONDS, SIDE = 8000, 0.5, 32


def main() -> None:
    """Write the three parts."""
    rng = np.random.default_rng(0)
    for table, (folder, count) in PARTS.items():
        (FOLDER / folder).mkdir(parents=True, exist_ok=True)
        (FOLDER / table).parent.mkdir(exist_ok=True)
        with open(FOLDER / table, "w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(COLUMNS)
            for number in range(count):
                writer.writerow([number + 1, *write_utterance(rng, FOLDER / folder, number)])
    print(FOLDER)


def write_utterance(rng: np.random.Generator, folder: Path, number: int) -> tuple[object, ...]:
    """Write the sound and the frame of an utterance, as far as they are not missing, and return its cells."""
    speaker = int(rng.integers(NUM_SPEAKERS))
    sentiment = speaker % 3 if rng.random() < FAVOURITE else int(rng.integers(3))
    shown = np.where(rng.random(3) < CONTRADICTION, rng.integers(0, 3, 3), sentiment)
    dialogue, position = divmod(number, 5)
    stem = folder / f"dia{dialogue}_utt{position}"
    if rng.random() >= MISSING[".wav"]:
        write_sound(rng, stem.with_suffix(".wav"), speaker, shown[1])
    if rng.random() >= MISSING[".jpg"]:
        draw_face(rng, speaker, shown[2]).save(stem.with_suffix(".jpg"), quality=95)
    utterance = str(rng.choice(SENTENCES)).format(rng.choice(WORDS[shown[0]]))
    return utterance, f"Speaker {speaker}", EMOTIONS[sentiment], SENTIMENTS[sentiment], dialogue, position


def write_sound(rng: np.random.Generator, path: Path, speaker: int, sentiment: int) -> None:
    """Write a tone in noise whose pitch falls, stays or rises, from that of the speaker."""
    time = np.linspace(0, SECONDS, int(RATE * SECONDS), endpoint=False)
    pitch = 300 + 20 * speaker + (sentiment - 1) * 600 * (time - SECONDS / 2)
    tone = np.sin(2 * np.pi * np.cumsum(pitch) / RATE) + rng.normal(0, 0.2, len(time))
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, RATE, 0, "NONE", ""))
        file.writeframes((tone * 8000).astype("<i2").tobytes())


def draw_face(rng: np.random.Generator, speaker: int, sentiment: int) -> Image.Image:
    """Draw a face in the speaker's colour, with a mouth that frowns, is straight or smiles."""
    face = Image.new("RGB", (SIDE, SIDE), tuple(np.random.default_rng(speaker).integers(60, 200, 3).tolist()))
    draw = ImageDraw.Draw(face)
    x, y = rng.integers(-2, 3, 2)
    for eye in (10, 20):
        draw.ellipse([eye + x, 9 + y, eye + 2 + x, 11 + y], fill="black")
    bend = (sentiment - 1) * 4
    draw.line([(9 + x, 21 + y - bend), (16 + x, 21 + y + bend), (22 + x, 21 + y - bend)], fill="black", width=2)
    return face


if __name__ == "__main__":
    main()
