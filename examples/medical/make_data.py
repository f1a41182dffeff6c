"""Write visits of patients to an emergency department: a record, an ECG in PhysioNet's WFDB format, and a radiograph.

The layout is that of PTB-XL (Wagner et al., 2020): a table, and records100/00000/00001_lr.hea with its .dat. One visit
in five is one with an infarction: then the ST segment tends to be raised, and troponin too. Age and a large heart raise
the risk. A patient has up to four visits, with the same age, sex, heart and shape of the ECG.
"""

import csv
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

FOLDER = Path(__file__).parent / "data"
COLUMNS = ("ecg_id", "patient_id", "age", "sex", "troponin", "ecg", "radiograph", "diagnosis")
NUM_PATIENTS, MAX_VISITS = 400, 4
PREVALENCE = 0.2
MISSING = {"troponin": 0.3, "radiograph": 0.3}
RATE, SECONDS = 100, 2
SIDE = 32  # of the radiograph, pixels
WAVES = ((-0.20, 0.12, 0.025), (-0.04, -0.1, 0.01), (0.0, 1.0, 0.012), (0.04, -0.2, 0.01), (0.30, 0.3, 0.04))
HEADER = "{name} 1 {rate} {steps}\n{name}.dat 16 1000/mV 16 0 {first} {checksum} 0 II\n"


def main() -> None:
    """Write all visits."""
    rng = np.random.default_rng(0)
    (FOLDER / "records100" / "00000").mkdir(parents=True, exist_ok=True)
    (FOLDER / "radiographs").mkdir(exist_ok=True)
    rows: list[tuple[object, ...]] = []
    for patient in range(NUM_PATIENTS):
        rows += write_visits(rng, patient, len(rows) + 1)
    with open(FOLDER / "visits.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        writer.writerows(rows)
    print(FOLDER / "visits.csv")


def write_visits(rng: np.random.Generator, patient: int, number: int) -> list[tuple[object, ...]]:
    """Write the files of a patient's visits, the first of which has this number, and return their rows."""
    age, sex = int(rng.normal(62, 12)), str(rng.choice(["female", "male"]))
    heart, waves = rng.normal(0, 1), rng.normal(1, 0.15, len(WAVES))
    risk = 1 / (1 + np.exp(-(age - 62) / 10 - heart))  # of the patient
    rows: list[tuple[object, ...]] = []
    for visit in range(number, number + int(rng.integers(1, MAX_VISITS + 1))):
        is_infarct = rng.random() < 2 * PREVALENCE * risk
        name = f"records100/00000/{visit:05}_lr"
        write_ecg(draw_ecg(rng, waves, rng.normal(0.12 if is_infarct else 0.0, 0.06)), FOLDER / name)
        troponin = round(float(np.exp(rng.normal(1.0 if is_infarct else 0.0, 0.8))), 2)
        radiograph = f"radiographs/{visit:05}.png"
        draw_radiograph(rng, heart).save(FOLDER / radiograph)
        shown_troponin = "" if rng.random() < MISSING["troponin"] else troponin
        shown_radiograph = "" if rng.random() < MISSING["radiograph"] else radiograph
        diagnosis = "infarct" if is_infarct else "other"
        rows.append((visit, patient, age, sex, shown_troponin, f"{name}.hea", shown_radiograph, diagnosis))
    return rows


def draw_ecg(rng: np.random.Generator, waves: np.ndarray, elevation: float) -> np.ndarray:
    """Draw one lead of a few heartbeats, with a raised ST segment, in millivolts."""
    time, rate = np.arange(RATE * SECONDS) / RATE, rng.normal(72, 8) / 60
    phase = ((time + rng.random()) % (1 / rate)) - 0.3  # seconds from the R wave
    signal = elevation * ((phase > 0.06) & (phase < 0.3))
    for factor, (center, height, width) in zip(waves, WAVES, strict=True):
        signal = signal + factor * height * np.exp(-0.5 * ((phase - center) / width) ** 2)
    return signal + rng.normal(0, 0.08, len(time))


def write_ecg(signal: np.ndarray, path: Path) -> None:
    """Write a record of one lead, in format 16 of WFDB."""
    samples = (signal * 1000).round().astype("<i2")
    path.with_suffix(".dat").write_bytes(samples.tobytes())
    checksum = int(samples.sum(dtype=np.int16))
    header = HEADER.format(name=path.name, rate=RATE, steps=len(samples), first=samples[0], checksum=checksum)
    path.with_suffix(".hea").write_text(header)


def draw_radiograph(rng: np.random.Generator, heart: float) -> Image.Image:
    """Draw lungs, and between them a heart of the patient's size."""
    picture = Image.new("L", (SIDE, SIDE), 150)
    draw = ImageDraw.Draw(picture)
    x, y = rng.integers(-1, 2, 2)
    draw.ellipse([3 + x, 5 + y, 14 + x, 28 + y], fill=60)
    draw.ellipse([17 + x, 5 + y, 28 + x, 28 + y], fill=60)
    radius = 5 + 1.5 * np.clip(heart, -2, 2)
    draw.ellipse([17 + x - radius, 20 + y - radius, 17 + x + radius, 20 + y + radius], fill=200)
    noise = rng.normal(0, 12, (SIDE, SIDE))
    return Image.fromarray((np.asarray(picture) + noise).clip(0, 255).astype(np.uint8))


if __name__ == "__main__":
    main()
