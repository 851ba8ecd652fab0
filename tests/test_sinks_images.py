"""Folders of numbered pictures, and the sink that only counts."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from sink_tools import SilentSource, info, moment, place_uri
from video_clips import numbered_picture, psnr, read_number, smooth_picture

from acf_edge.errors import InputError
from acf_edge.imaging.files import read_image
from acf_edge.stream.protocols import SinkFailed
from acf_edge.stream.sinks.images import ImageFolderSink
from acf_edge.stream.sinks.null import NullSink


def _sink(folder: Path, **options: object) -> ImageFolderSink:
    sink = ImageFolderSink(place_uri(folder, "folder", **options))
    sink.open(info(64, 48), (64, 48), SilentSource())
    return sink


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("kind", ["png", "webp"])
def test_pictures_are_numbered_and_lossless(tmp_path: Path, kind: str) -> None:
    sink = _sink(tmp_path / "out", format=kind)
    pictures = [smooth_picture(48, 64, seed) for seed in range(3)]
    for i, picture in enumerate(pictures):
        sink.write(moment(picture, i))
    assert list(sink.close()) == []
    assert _names(tmp_path / "out") == [f"frame-00000{i}.{kind}" for i in range(3)]
    for i, picture in enumerate(pictures):
        np.testing.assert_array_equal(read_image(tmp_path / f"out/frame-00000{i}.{kind}"), picture)


def test_jpeg(tmp_path: Path) -> None:
    sink = _sink(tmp_path / "out", format="jpg")
    picture = smooth_picture(48, 64)
    sink.write(moment(picture, 0))
    assert psnr(read_image(tmp_path / "out/frame-000000.jpg"), picture) > 38


@pytest.mark.parametrize(("every", "numbers"), [(1, [0, 1, 2, 3, 4, 5, 6]), (3, [0, 3, 6])])
def test_one_in_so_many(tmp_path: Path, every: int, numbers: list[int]) -> None:
    sink = _sink(tmp_path, every=every)
    for i in range(7):
        sink.write(moment(numbered_picture(48, 64, i), i))
    found = [read_number(read_image(path)) for path in sorted(tmp_path.iterdir())]
    assert found == numbers and sink.frames == len(numbers)


def test_held_pictures_can_be_left_out(tmp_path: Path) -> None:
    for held, count in (("keep", 2), ("skip", 1)):
        sink = _sink(tmp_path / held, held=held)
        sink.write(moment(numbered_picture(48, 64, 0), 0))
        sink.write(moment(numbered_picture(48, 64, 0), 1, held=True))
        assert len(_names(tmp_path / held)) == count


def test_numbered_pictures_are_not_replaced_in_silence(tmp_path: Path) -> None:
    sink = _sink(tmp_path)
    for i in range(3):
        sink.write(moment(numbered_picture(48, 64, i), i))
    with pytest.raises(InputError, match="overwrite=1"):
        _sink(tmp_path)
    assert read_number(read_image(tmp_path / "frame-000001.png")) == 1
    sink = _sink(tmp_path, overwrite=True)
    sink.write(moment(numbered_picture(48, 64, 9), 0))
    assert any("2 older numbered pictures" in note for note in sink.close())
    assert read_number(read_image(tmp_path / "frame-000000.png")) == 9


def test_other_files_in_the_folder_do_not_matter(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("text")
    (tmp_path / "holiday.png").write_bytes(b"")
    _sink(tmp_path).write(moment(numbered_picture(48, 64, 1), 0))
    assert _names(tmp_path) == ["frame-000000.png", "holiday.png", "notes.txt"]


def test_another_size_is_scaled_and_said_once(tmp_path: Path) -> None:
    sink = _sink(tmp_path)
    sink.write(moment(np.full((96, 256, 3), 200, np.uint8), 0))
    sink.write(moment(np.full((48, 64, 3), 200, np.uint8), 1))
    picture = read_image(tmp_path / "frame-000000.png")
    assert picture.shape == (48, 64, 3)
    assert picture[0].max() == 0 and picture[24].min() == 200
    assert [n for n in sink.close() if "another size" in n] == [
        "1 picture of another size, scaled to fit with black around them"
    ]


def test_a_removed_folder_is_not_made_again(tmp_path: Path) -> None:
    sink = _sink(tmp_path / "out")
    sink.write(moment(numbered_picture(48, 64, 0), 0))
    shutil.rmtree(tmp_path / "out")
    with pytest.raises(SinkFailed, match="removed"):
        sink.write(moment(numbered_picture(48, 64, 1), 1))
    assert not (tmp_path / "out").exists()


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("text")
    for folder in (tmp_path / "file", tmp_path / "file" / "out"):
        with pytest.raises(InputError):
            _sink(folder)


def test_null_counts(tmp_path: Path) -> None:
    sink = NullSink(place_uri("null://", "null"))
    sink.open(info(64, 48), (64, 48), SilentSource())
    for i in range(5):
        sink.write(moment(numbered_picture(48, 64, i), i, held=i == 4))
    assert (sink.frames, sink.held) == (4, 1)
    assert sink.lossless and not sink.wants_original
    assert list(sink.close()) == []
