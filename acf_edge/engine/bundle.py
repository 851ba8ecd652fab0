"""A bundle is a folder: a passport, a ledger, and the files that the passport lists.

Nothing of a bundle is handed to a parser before its size and hash are right.
"""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from acf_edge.engine.ledger import Ledger
from acf_edge.engine.passport import FileEntry, Passport
from acf_edge.errors import InputError
from acf_edge.files import atomic_folder, explain_os_error
from acf_edge.resources import bundles_folder, named_bundle

PASSPORT_FILE: Final = "passport.json"
LEDGER_FILE: Final = "ledger.json"
MODEL_FILE: Final = "model.onnx"
NETWORK_FILE: Final = "network.onnx"
PLUGIN_FILE: Final = "model.plugin.onnx"
PLAN_FILE: Final = "engine.plan"
SCALES_FILE: Final = "scales.json"
REPORT_FILE: Final = "report.html"

# Flat names: no separators, no leading dot, nothing a shell or Windows would mind.
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_PASSPORT_LIMIT: Final = 4 << 20
_CHUNK: Final = 1 << 20


@dataclass(frozen=True)
class Bundle:
    """A bundle whose passport has been read.

    Attributes:
        path: the folder.
        passport: what it is.
        ledger: how it came to be.
    """

    path: Path
    passport: Passport
    ledger: Ledger

    def read(self, name: str) -> bytes:
        """The content of a listed file, checked: these very bytes have the passport's hash.

        Raises:
            InputError: the file is not listed, is absent, or is damaged.
        """
        return _read_listed(self.path, self.passport, name)


def write_bundle(
    folder: Path | str, files: Mapping[str, bytes | Path], passport: Passport, ledger: Ledger
) -> Bundle:
    """Write a bundle whole or not at all; an existing one is replaced at the very end.

    Args:
        folder: where.
        files: name in the bundle -> content, or a file to copy. The ledger and
            the passport are written by this function and must not be among them.
        passport: its ``files`` and ``accuracy`` are filled in here.
        ledger: how the bundle came to be.

    Returns:
        The bundle with the passport as written.

    Raises:
        InputError: it cannot be written, or the folder holds something else than a bundle.
        ValueError: a name that no bundle may hold (a mistake of the caller).
    """
    folder = Path(folder)
    check_place(folder)
    for name in files:
        if not _NAME.fullmatch(name) or name in (PASSPORT_FILE, LEDGER_FILE):
            raise ValueError(f"{name!r} cannot be the name of a file given for a bundle")
    with atomic_folder(folder) as temporary:
        entries: dict[str, FileEntry] = {}
        for name, content in {**files, LEDGER_FILE: ledger.dumps().encode()}.items():
            target = temporary / name
            if isinstance(content, Path):
                shutil.copyfile(content, target)
            else:
                target.write_bytes(content)
            entries[name] = FileEntry(*_hash_file(target))
        passport = passport.with_contents(entries, ledger)
        # What could not be read again must not take the place of what can.
        text = passport.dumps()
        Passport.loads(text)
        (temporary / PASSPORT_FILE).write_bytes(text)
    return Bundle(folder, passport, ledger)


def check_place(folder: Path) -> None:
    """Refuse to write a bundle over a folder that holds something else.

    Raises:
        InputError: it is there, is not empty and is no bundle.
    """
    try:
        if not folder.is_dir() or (folder / PASSPORT_FILE).is_file() or not any(folder.iterdir()):
            return
    except OSError as error:
        raise explain_os_error(error, folder) from error
    raise InputError(
        f"'{folder}' holds something else already.", "Name a new folder, or an engine bundle."
    )


def open_bundle(path: Path | str, verify: bool = True, without: Collection[str] = ()) -> Bundle:
    """Read a bundle's passport and ledger and check every listed file.

    Args:
        path: the folder, or the name of a shipped network, e.g. ``"acf-t-x2"``.
        verify: hash every listed file. Without it only presence and size are
            checked; :meth:`Bundle.read` checks what it reads in any case.
        without: files that are not looked at: what is about to be made anew.

    Raises:
        InputError: not a bundle; a file that is absent or differs by so much as
            one byte from what was built. The message names the file and says
            how to get a good one.
    """
    path = named_bundle(path)
    passport = _read_passport(path)
    for name in sorted(passport.files):
        if not _NAME.fullmatch(name) or name == PASSPORT_FILE:
            raise InputError(
                f"The passport of '{path}' lists a file under the forbidden name {name!r}.",
                _remedy(path, passport),
            )
    if LEDGER_FILE not in passport.files:
        raise InputError(f"The passport of '{path}' lists no ledger.", _remedy(path, passport))
    for name in sorted(set(passport.files) - set(without)):
        _check_size(path, passport, name)
        if verify:
            _check_hash(path, passport, name)
    text = _read_listed(path, passport, LEDGER_FILE)
    return Bundle(path, passport, Ledger.loads(text.decode("utf-8", "replace")))


def _read_passport(path: Path) -> Passport:
    remedy = _remedy(path, None)
    if not path.exists():
        if path.resolve().is_relative_to(bundles_folder()):
            raise InputError(f"The shipped engine bundle '{path}' is missing.", remedy)
        raise InputError(f"The engine bundle '{path}' does not exist.", "Check the path.")
    if not path.is_dir():
        raise InputError(
            f"'{path}' is a file; an engine bundle is a folder with a {PASSPORT_FILE}.",
            "Give the folder that 'acf-edge build' wrote.",
        )
    file = path / PASSPORT_FILE
    if not file.is_file():
        raise InputError(
            f"'{path}' is no engine bundle: it has no {PASSPORT_FILE}.",
            "Give the folder that 'acf-edge build' wrote.",
        )
    try:
        with file.open("rb") as stream:
            text = stream.read(_PASSPORT_LIMIT + 1)
    except OSError as error:
        raise explain_os_error(error, file) from error
    if len(text) > _PASSPORT_LIMIT:
        raise InputError(f"'{file}' is too large for a passport.", remedy)
    try:
        return Passport.loads(text)
    except InputError as error:
        raise InputError(f"'{file}': {error.problem}", error.remedy) from error


def _remedy(path: Path, passport: Passport | None) -> str:
    if path.resolve().is_relative_to(bundles_folder()):
        return "Reinstall acf-edge: pip install --force-reinstall acf-edge"
    if passport is not None and passport.source_command:
        return f"Rebuild it: {passport.rebuild_command}"
    return "Build it again with 'acf-edge build'."


def _check_size(path: Path, passport: Passport, name: str) -> None:
    file = path / name
    expected = passport.files[name].size
    try:
        if not file.is_file():
            raise InputError(
                f"'{path}' lacks its file '{name}', or it is no plain file.",
                _remedy(path, passport),
            )
        size = file.stat().st_size
    except OSError as error:
        raise explain_os_error(error, file) from error
    if size != expected:
        raise InputError(
            f"'{file}' is damaged: it has {size} bytes where the passport says {expected}.",
            _remedy(path, passport),
        )


def _check_hash(path: Path, passport: Passport, name: str) -> None:
    file = path / name
    try:
        digest, size = _hash_file(file)
    except OSError as error:
        raise explain_os_error(error, file) from error
    if FileEntry(digest, size) != passport.files[name]:
        raise _damaged(path, passport, name)


def _read_listed(path: Path, passport: Passport, name: str) -> bytes:
    if name not in passport.files:
        raise InputError(f"'{path}' has no file '{name}' in its passport.", _remedy(path, passport))
    _check_size(path, passport, name)
    entry = passport.files[name]
    try:
        with (path / name).open("rb") as stream:
            content = stream.read(entry.size + 1)
    except OSError as error:
        raise explain_os_error(error, path / name) from error
    if FileEntry(hashlib.sha256(content).hexdigest(), len(content)) != entry:
        raise _damaged(path, passport, name)
    return content


def _damaged(path: Path, passport: Passport, name: str) -> InputError:
    return InputError(
        f"'{path / name}' is damaged: its content is not what the passport says.",
        _remedy(path, passport),
    )


def _hash_file(path: Path) -> tuple[str, int]:
    digest, size = hashlib.sha256(), 0
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
            size += len(chunk)
    return digest.hexdigest(), size
