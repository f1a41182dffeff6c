"""Small real files: what a user's folder holds."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image


@pytest.fixture
def media(tmp_path: Path) -> Path:
    """A folder with one real file of every format that is read."""
    across, down = np.meshgrid(np.linspace(0, 255, 48), np.linspace(0, 255, 32))
    colour = np.stack([across, down, 255 - across], axis=2).astype(np.uint8)
    for suffix in ("png", "jpg", "webp"):
        Image.fromarray(colour).save(tmp_path / f"colour.{suffix}")
        Image.fromarray(colour[:, :, 0]).save(tmp_path / f"grey.{suffix}")
    time = np.arange(8000) / 8000
    tone = (0.5 * np.sin(2 * np.pi * 440 * time)).astype(np.float32)
    for suffix in ("wav", "flac", "mp3", "ogg"):
        soundfile.write(tmp_path / f"tone.{suffix}", tone, 8000)
    soundfile.write(tmp_path / "stereo.wav", np.stack([tone, np.zeros_like(tone)], axis=1), 8000)
    np.save(tmp_path / "ramp.npy", np.stack([np.arange(10.0), 2 * np.arange(10.0)]))
    (tmp_path / "note.txt").write_text("grüß dich", "utf-8")
    return tmp_path
