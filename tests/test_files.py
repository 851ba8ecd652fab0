"""Files and folders appear whole or not at all; errors of the system in words."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest

from acf_edge.errors import InputError, MissingExtraError
from acf_edge.files import atomic_folder, atomic_path, explain_os_error, write_text


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_file_appears_only_when_it_is_whole(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "er" / "out.mp4"
    with atomic_path(target) as temporary:
        assert temporary.parent == target.parent
        assert temporary.suffix == ".mp4"
        temporary.write_bytes(b"whole")
        assert not target.exists()
    assert target.read_bytes() == b"whole"
    assert names(target.parent) == ["out.mp4"]


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "out.json"
    target.write_text("old")
    with pytest.raises(ZeroDivisionError), atomic_path(target) as temporary:
        temporary.write_text("half")
        raise ZeroDivisionError
    assert target.read_text() == "old"
    assert names(tmp_path) == ["out.json"]


def test_an_interrupt_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), atomic_path(tmp_path / "a.txt"):
        raise KeyboardInterrupt
    with pytest.raises(KeyboardInterrupt), atomic_folder(tmp_path / "b"):
        raise KeyboardInterrupt
    assert names(tmp_path) == []


def test_a_new_file_and_folder_have_the_usual_permissions(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        write_text(tmp_path / "a.txt", "é")
        with atomic_folder(tmp_path / "b"):
            pass
    finally:
        os.umask(before)
    assert (tmp_path / "a.txt").read_bytes() == "é".encode()
    assert mode(tmp_path / "a.txt") == 0o644
    assert mode(tmp_path / "b") == 0o755


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_told_and_cleaned_up(number: int, tmp_path: Path) -> None:
    target = tmp_path / "out.png"
    with pytest.raises(InputError, match=r"out\.png' is full"), atomic_path(target) as temporary:
        temporary.write_bytes(b"half")
        raise OSError(number, os.strerror(number))
    with pytest.raises(InputError, match="is full"), atomic_folder(tmp_path / "b") as folder:
        (folder / "x").write_text("half")
        raise OSError(number, os.strerror(number))
    assert names(tmp_path) == []


def test_a_file_in_the_way_of_a_parent_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="file"), atomic_path(tmp_path / "file" / "out.png"):
        pass
    assert names(tmp_path) == ["file"]


def test_a_folder_where_a_file_is_wanted_and_the_reverse(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="is a folder"), atomic_path(tmp_path / "folder"):
        pass
    with pytest.raises(InputError, match="is a file"), atomic_folder(tmp_path / "file"):
        pass
    assert names(tmp_path) == ["file", "folder"]


def test_a_place_that_cannot_be_written() -> None:
    # /proc refuses new files to everybody, root as well.
    with pytest.raises(InputError) as caught, atomic_path("/proc/acf-edge-test/out.png"):
        pass
    assert caught.value.exit_code == 2


def test_a_folder_replaces_the_old_one_whole(tmp_path: Path) -> None:
    target = tmp_path / "bundle"
    target.mkdir()
    (target / "old").write_text("old")
    with atomic_folder(target) as folder:
        (folder / "new").write_text("new")
        assert names(target) == ["old"]
    assert names(target) == ["new"]
    assert names(tmp_path) == ["bundle"]


def test_a_failed_folder_leaves_the_old_one(tmp_path: Path) -> None:
    target = tmp_path / "bundle"
    target.mkdir()
    (target / "old").write_text("old")
    with pytest.raises(ValueError, match="no"), atomic_folder(target) as folder:
        (folder / "new").write_text("new")
        raise ValueError("no")
    assert names(target) == ["old"]
    assert names(tmp_path) == ["bundle"]


def test_the_old_folder_comes_back_if_the_exchange_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "bundle"
    target.mkdir()
    (target / "old").write_text("old")
    replace = os.replace
    calls: list[object] = []

    def second_fails(source: Path, destination: Path) -> None:
        calls.append(source)
        if len(calls) == 2:
            raise OSError(errno.EIO, "Input/output error")
        replace(source, destination)

    monkeypatch.setattr(os, "replace", second_fails)
    with pytest.raises(InputError, match="Input/output error"), atomic_folder(target):
        pass
    assert (target / "old").read_text() == "old"


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOSPC, "is full"),
        (errno.EACCES, "cannot be written"),
        (errno.EROFS, "cannot be written"),
        (errno.ENOENT, "does not exist"),
        (errno.ENOTDIR, "Not a directory"),
        (errno.EIO, "Input/output error"),
    ],
)
def test_system_errors_in_words(number: int, words: str) -> None:
    told = explain_os_error(OSError(number, os.strerror(number)), Path("some") / "place")
    assert words in str(told)
    assert os.fspath(Path("some") / "place") in str(told)
    assert told.exit_code == 2


def test_a_missing_extra_names_the_command() -> None:
    error = MissingExtraError("Training", "torch", "build")
    assert str(error) == (
        "Training needs the package 'torch', which is not installed. "
        "Run: pip install 'acf-edge[build]'"
    )
