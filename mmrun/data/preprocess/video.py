"""Videos: files that PyAV decodes, animated images, folders of frames, or arrays."""

from typing import Annotated, Any

import numpy as np

from mmrun.data.preprocess.image import Level, Pixels, describe_crop
from mmrun.data.preprocess.lengths import inspect_rows
from mmrun.data.preprocess.video_files import Sampling, VideoHeader, VideoValue, read_frames, read_video_header
from mmrun.data.table import Column
from mmrun.values import PositiveInt, Range


class Frames:
    """Decodes videos to [T, C, H, W]: T frames, of which each is resized and cropped as `image.Pixels` does.

    Args:
        num_frames: T; they are taken from the middles of as many equal parts, and repeated where a video has fewer.
        size: H and W, pixels.
        sampling: time: parts of equal time, by the time stamps of the frames; number: of an equal number of frames.
        channels: C: 1 for grey, 3 for colour; None: as the videos.
        background: grey level, or red, green and blue, behind transparent pixels, 0 to 255.

    Attributes:
        metadata: in_channels, image_size and num_frames, for encoders.
        notes: what the videos are, and which of them are repeated.
    """

    def __init__(
        self,
        num_frames: Annotated[int, Range(at_least=1, at_most=256)],
        size: Annotated[int, Range(at_least=1, at_most=1024)],
        sampling: Sampling = "time",
        channels: PositiveInt | None = None,
        background: Level | tuple[Level, Level, Level] = 128,
    ) -> None:
        self.num_frames, self.sampling = num_frames, sampling
        self.pixels = Pixels(size, channels, background)
        self.metadata: dict[str, object] = {}
        self.notes: list[str] = []

    def fit(self, column: Column, rows: np.ndarray) -> None:
        """Read what the videos are, for their channels.

        Args:
            column: the videos.
            rows: numbers of the training rows [N]; they are not treated differently.
        """
        headers = [header for header in inspect_rows(column, read_video_header) if header is not None]
        if self.pixels.channels is None:
            self.pixels.channels = max((header.channels for header in headers), default=3)
        self.notes = [self._describe(headers)]
        self._update_metadata()

    def decode(self, value: VideoValue) -> dict[str, np.ndarray]:
        """Decode one row.

        Args:
            value: a file, the files of its frames, or an array [T, C, H, W] of uint8.

        Returns:
            [T, C, size, size] uint8, under the name "".

        Raises:
            DataError: it cannot be read.
        """
        decoded: list[np.ndarray] = []
        previous = None
        for frame in read_frames(value, self.num_frames, self.sampling):
            decoded.append(decoded[-1] if frame is previous else self.pixels.decode(frame)[""])
            previous = frame
        return {"": np.stack(decoded)}

    def state(self) -> dict[str, object]:
        """Return number and size of the frames, and how they are chosen."""
        return {"num_frames": self.num_frames, "sampling": self.sampling, "pixels": self.pixels.state()}

    def restore(self, state: dict[str, Any]) -> None:
        """Restore a state of another object."""
        self.num_frames, self.sampling = state["num_frames"], state["sampling"]
        self.pixels.restore(state["pixels"])
        self._update_metadata()

    def _update_metadata(self) -> None:
        self.metadata = {
            "in_channels": self.pixels.channels,
            "image_size": self.pixels.size,
            "num_frames": self.num_frames,
        }

    def _describe(self, headers: list[VideoHeader]) -> str:
        size, counts = self.pixels.size, [header.num_frames for header in headers]
        by_time = "equal times apart" if self.sampling == "time" else "equally far apart in number"
        note = f"{self.num_frames} frames of each video, {by_time}, of {size} x {size} pixels"
        note += describe_crop([(header.width, header.height) for header in headers])
        if counts:
            least, most = min(counts), max(counts)
            note += f"; videos have {least:,}{'' if least == most else f' to {most:,}'} frames"
        num_short = sum(count < self.num_frames for count in counts)
        if num_short:
            note += f"; {num_short:,} of {len(counts):,} have fewer than are read, which are repeated"
        return note
