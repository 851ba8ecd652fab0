"""The name that a recording stands under while it grows, and afterwards."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from acf_edge.errors import InputError
from acf_edge.files import explain_os_error
from acf_edge.stream.protocols import SinkFailed

_MOST_LEFTOVERS = 1000


class Place:
    """Claim a name for a recording.

    A recording must be found after a crash. So it grows under its own name, which
    is created at once and must be free. Where an existing file is to be replaced,
    it stays whole until the end, and the new one grows beside it under a name
    that can be seen: ``NAME.part.mp4`` (``NAME.part-2.mp4`` if a crash left that).

    Args:
        target: the name the user gave; missing folders are made.
        overwrite: an existing file may be replaced.

    Attributes:
        target: as given.
        path: where to write: ``target``, or the name beside it.

    Raises:
        InputError: the name is taken, no plain file, or cannot be written.
    """

    def __init__(self, target: Path, overwrite: bool) -> None:
        self.target = target
        if target.is_dir():
            raise InputError(f"'{target}' is a folder.", "Give the name of a file.")
        if target.exists() and not target.is_file():
            raise InputError(f"'{target}' is not a plain file.", "Choose another name.")
        if target.exists() and not overwrite:
            raise _taken(target)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            self.path = self._claim()
            found = self.path.stat()
        except FileExistsError as error:
            raise _taken(target) from error
        except OSError as error:
            raise explain_os_error(error, target) from error
        self._identity = found.st_dev, found.st_ino

    def _claim(self) -> Path:
        if not self.target.exists():
            self.target.touch(exist_ok=False)
            return self.target
        for number in range(1, _MOST_LEFTOVERS):
            part = "part" if number == 1 else f"part-{number}"
            path = self.target.with_name(f"{self.target.stem}.{part}{self.target.suffix}")
            with contextlib.suppress(FileExistsError):
                path.touch(exist_ok=False)
                return path
        raise FileExistsError(17, "too many unfinished recordings", str(self.target))

    @property
    def replaces(self) -> bool:
        """An existing file is replaced in the end."""
        return self.path != self.target

    def check(self) -> None:
        """See that the file is still there: a removed one can be written, and is lost.

        Raises:
            SinkFailed: it was removed, or moved away.
        """
        try:
            found = os.stat(self.path)  # noqa: PTH116 - once a second, no Path object needed
            there = (found.st_dev, found.st_ino) == self._identity
        except OSError:
            there = False
        if not there:
            raise SinkFailed(f"'{self.path}' was removed while it was written")

    def finish(self) -> None:
        """The file is whole: give it its name.

        Raises:
            SinkFailed: it is gone, or the old file cannot be replaced.
        """
        self.check()
        if self.replaces:
            try:
                self.path.replace(self.target)
            except OSError as error:
                raise SinkFailed(
                    f"'{self.target}' cannot be replaced ({error.strerror}); "
                    f"the recording is '{self.path}'"
                ) from error

    def discard(self) -> None:
        """Nothing was recorded: leave nothing behind."""
        with contextlib.suppress(SinkFailed, OSError):
            self.check()
            self.path.unlink()


def _taken(target: Path) -> InputError:
    return InputError(
        f"'{target}' is there already.", "Choose another name, or add '?overwrite=1' to replace it."
    )
