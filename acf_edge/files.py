"""Files and folders that appear whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import shlex
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

from acf_edge.errors import InputError


def explain_os_error(error: OSError, path: Path) -> InputError:
    """Turn an operating-system error about ``path`` into words for the user."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return InputError(
            f"The disk that holds '{path}' is full.", "Free some space and run again."
        )
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return InputError(f"'{path}' cannot be written: {error.strerror}.", "Choose another place.")
    if error.errno == errno.ENOENT:
        return InputError(f"'{path}' does not exist.", "Check the path.")
    if error.errno in (errno.ENOTDIR, errno.EISDIR):
        return InputError(f"'{path}': {error.strerror}.", "Check the path.")
    return InputError(f"'{path}': {error.strerror or error}.")


def _parent(path: Path) -> Path:
    parent = path.parent
    try:
        parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise explain_os_error(error, parent) from error
    return parent


@contextlib.contextmanager
def atomic_path(path: Path | str, durable: bool = False) -> Iterator[Path]:
    """Give a temporary path beside ``path`` that replaces it when the block ends well.

    The temporary keeps the suffix (writers guess formats from it). If the block
    raises, the temporary is removed and an existing ``path`` is left as it was;
    an :class:`OSError` comes out as :class:`InputError`.

    Args:
        path: what shall be written.
        durable: what was written is on the disk before it takes the name: after a power cut
            either the old content is there or the new.
    """
    path = Path(path)
    if path.is_dir():
        raise InputError(f"'{path}' is a folder.", "Give the name of a file.")
    parent = _parent(path)
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.stem}-", suffix=path.suffix, dir=parent)
    except OSError as error:
        raise explain_os_error(error, path) from error
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o666 & ~_umask())
        if durable:
            _sync(temporary)
        temporary.replace(path)
        if durable:
            _sync(parent)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise explain_os_error(error, path) from error
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def atomic_folder(path: Path | str) -> Iterator[Path]:
    """Give a temporary folder beside ``path`` that takes its place when the block ends well.

    An existing ``path`` stays untouched until the very end, and comes back if
    the exchange fails. If the block raises, the temporary folder is removed.
    """
    path = Path(path)
    if path.exists() and not path.is_dir():
        raise InputError(f"'{path}' is a file.", "Give the name of a folder.")
    parent = _parent(path)
    try:
        temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=parent))
    except OSError as error:
        raise explain_os_error(error, path) from error
    try:
        yield temporary
        temporary.chmod(0o777 & ~_umask())
        old = None
        if path.exists():
            old = Path(tempfile.mkdtemp(prefix=f".{path.name}-old-", dir=parent))
            path.replace(old)
        try:
            temporary.replace(path)
        except OSError:
            if old is not None:
                old.replace(path)
            raise
        if old is not None:
            shutil.rmtree(old, ignore_errors=True)
    except OSError as error:
        shutil.rmtree(temporary, ignore_errors=True)
        raise explain_os_error(error, path) from error
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def write_text(path: Path | str, text: str) -> None:
    """Write UTF-8 text whole or not at all."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def cache_folder() -> Path:
    """Where what can be made again is kept: ``$ACF_EDGE_CACHE``, else ``acf-edge`` in the
    user's cache folder.

    Raises:
        InputError: everybody may write there. Engines and kernels are code, and
            their hashes lie beside them.
    """
    named = os.environ.get("ACF_EDGE_CACHE")
    base = os.environ.get("XDG_CACHE_HOME")
    users = Path(base) if base and Path(base).is_absolute() else Path.home() / ".cache"
    folder = Path(named) if named else users / "acf-edge"
    with contextlib.suppress(OSError):
        if folder.stat().st_mode & stat.S_IWOTH:
            raise InputError(
                f"Everybody may write to the cache folder '{folder}', and what lies there is run.",
                f"Run: chmod o-w {shlex.quote(str(folder))}, or name another in ACF_EDGE_CACHE.",
            )
    return folder


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
