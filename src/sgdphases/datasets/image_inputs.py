"""Images of a table as the inputs of a task: bytes on the disk, numbers for whoever asks and no sooner."""

from typing import Any

import numpy as np

from sgdphases.datasets.image_table import normalised

AT_ONCE = 1024
"""Images that are made numbers at a time."""


class ImageInputs:
    """Some images of a table, to be read as an array (images, channels * height * width) of float32.

    A row is an image: all of red, then green, then blue, row by row. Nothing of it is in memory. NumPy and torch make
    their own array of it where they are given one; a slice is such an object again, and any other choice of rows is an
    array. Who reads images rather than vectors takes their bytes, and makes them numbers where they are needed.

    Args:
        images: Mapped into memory, (all images, channels, height, width) uint8.
        rows: Which of them, in this order, (images,).
        mean: Of each channel, in units of the largest grey level, (channels,); 0 if not given.
        deviation: The standard deviation likewise; 1 if not given.

    Attributes:
        mean: As given, float32.
        deviation: As given, float32.
        numbers: What makes bytes numbers: `image_table.normalised`.
    """

    ndim = 2
    dtype = np.dtype(np.float32)
    numbers = staticmethod(normalised)

    def __init__(
        self, images: np.ndarray, rows: np.ndarray, mean: np.ndarray | None = None, deviation: np.ndarray | None = None
    ) -> None:
        self._images, self._rows = images.view(np.ndarray), np.asarray(rows, dtype=np.int64)
        channels = images.shape[1]
        self.mean = np.zeros(channels, np.float32) if mean is None else np.asarray(mean, np.float32)
        self.deviation = np.ones(channels, np.float32) if deviation is None else np.asarray(deviation, np.float32)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, height and width."""
        return self._images.shape[1:]

    @property
    def shape(self) -> tuple[int, int]:
        """Images, and numbers of each."""
        return len(self._rows), int(np.prod(self.image_shape))

    def __len__(self) -> int:
        return len(self._rows)

    def bytes_of(self, rows: Any, out: np.ndarray | None = None) -> np.ndarray:
        """Read images.

        Args:
            rows: Their places among these, (k,): numbers, or anything else that chooses rows of an array.
            out: Takes them, if given: contiguous, (k, channels, height, width) uint8.

        Returns:
            Their grey levels, (k, channels, height, width) uint8.

        A row that is not there raises an IndexError.
        """
        chosen = self._rows[rows]
        out = np.empty((len(chosen), *self.image_shape), np.uint8) if out is None else out
        # Rows were checked above; with any other mode than "raise", take writes to its place at once.
        return np.take(self._images, chosen, axis=0, out=out, mode="clip")

    def __getitem__(self, key: Any) -> "ImageInputs | np.ndarray":
        if isinstance(key, slice):
            return ImageInputs(self._images, self._rows[key], self.mean, self.deviation)
        if key is None or key is Ellipsis or isinstance(key, tuple):
            return np.asarray(self)[key]
        return self._vectors(np.asarray(self._rows[key]))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        if copy is False:
            raise ValueError("images are bytes on the disk: their numbers cannot be had without a copy")
        return self._vectors(self._rows).astype(dtype or self.dtype, copy=False)

    def __dlpack_device__(self) -> tuple[int, int]:
        return 1, 0  # a CPU

    def __dlpack__(self, **words: Any) -> Any:
        # torch takes what has this as one array, and anything else row by row.
        return np.asarray(self).__dlpack__(**words)

    def _vectors(self, chosen: np.ndarray) -> np.ndarray:
        """Images as vectors, (..., channels * height * width) float32; `chosen` are their rows in the table."""
        flat = chosen.ravel()
        numbers = np.empty((len(flat), *self.image_shape), self.dtype)
        for begin in range(0, len(flat), AT_ONCE):
            part = slice(begin, begin + AT_ONCE)
            numbers[part] = normalised(self._images[flat[part]], self.mean, self.deviation)
        return numbers.reshape(*chosen.shape, self.shape[1])
