"""Pictures on disk: every format, every kind of damage, nothing half-written."""

from __future__ import annotations

import struct
import subprocess
import sys
import zlib
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from acf_edge.errors import InputError
from acf_edge.imaging.files import IMAGE_SUFFIXES, list_images, read_image, write_image
from acf_edge.imaging.metrics import psnr

Uint8Image = npt.NDArray[np.uint8]


def picture(height: int = 48, width: int = 64) -> Uint8Image:
    noise = np.random.default_rng(1).random((height, width, 3))
    soft = cv2.GaussianBlur(noise, (0, 0), 4.0)
    unit: npt.NDArray[np.float64] = (soft - soft.min()) / (soft.max() - soft.min())
    return (unit * 255).astype(np.uint8)


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


@pytest.mark.parametrize("suffix", IMAGE_SUFFIXES)
def test_written_pictures_come_back(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / "new" / f"straße-été-写真{suffix.upper()}"
    image = picture()
    write_image(path, image)
    back = read_image(path)
    assert back.dtype == np.uint8 and back.flags.c_contiguous
    if suffix in (".jpg", ".jpeg"):
        assert psnr(back, image) > 42.0
    else:
        assert np.array_equal(back, image)
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_jpeg_keeps_full_chroma(tmp_path: Path) -> None:
    stripes = np.zeros((32, 32, 3), np.uint8)
    stripes[:, ::2] = (255, 0, 0)
    stripes[:, 1::2] = (0, 0, 255)
    write_image(tmp_path / "a.jpg", stripes)
    assert psnr(read_image(tmp_path / "a.jpg"), stripes) > 25.0  # 4:2:0 gives 12 dB


def test_channels_are_red_green_blue(tmp_path: Path) -> None:
    pixel = np.full((4, 4, 3), (200, 100, 50), np.uint8)
    write_image(tmp_path / "a.png", pixel)
    other = cv2.imread(str(tmp_path / "a.png"))
    assert other is not None and other[0, 0].tolist() == [50, 100, 200]
    assert read_image(tmp_path / "a.png")[0, 0].tolist() == [200, 100, 50]


def test_the_content_decides_not_the_suffix(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", picture())
    (tmp_path / "a.png").rename(tmp_path / "a.jpg")
    assert np.array_equal(read_image(tmp_path / "a.jpg"), picture())


def test_grey_becomes_rgb(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "grey.png"), np.full((5, 6), 77, np.uint8))
    image = read_image(tmp_path / "grey.png")
    assert image.shape == (5, 6, 3) and (image == 77).all()


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_sixteen_bits_become_eight(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"deep{suffix}"
    cv2.imwrite(str(path), np.full((5, 6, 3), 40000, np.uint16))
    assert read_image(path).tolist() == np.full((5, 6, 3), 156).tolist()


def test_alpha_is_dropped_not_blended(tmp_path: Path) -> None:
    pixels = np.full((5, 6, 4), (10, 20, 30, 7), np.uint8)
    cv2.imwrite(str(tmp_path / "alpha.png"), pixels)
    assert read_image(tmp_path / "alpha.png")[0, 0].tolist() == [30, 20, 10]


@pytest.mark.parametrize(("orientation", "turns"), [(1, 0), (3, 2), (6, 3), (8, 1)])
def test_exif_orientation_is_applied(orientation: int, turns: int, tmp_path: Path) -> None:
    write_image(tmp_path / "a.jpg", picture())
    plain = (tmp_path / "a.jpg").read_bytes()
    entry = struct.pack("<HHHIHH", 1, 0x0112, 3, 1, orientation, 0)
    exif = b"Exif\0\0" + b"II*\0" + struct.pack("<I", 8) + entry + struct.pack("<I", 0)
    marker = b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif
    (tmp_path / "b.jpg").write_bytes(plain[:2] + marker + plain[2:])
    upright = np.rot90(read_image(tmp_path / "a.jpg"), turns)
    assert np.array_equal(read_image(tmp_path / "b.jpg"), upright)


@pytest.mark.parametrize("suffix", IMAGE_SUFFIXES)
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.99])
def test_truncated_files_are_refused(suffix: str, share: float, tmp_path: Path) -> None:
    path = tmp_path / f"a{suffix}"
    write_image(path, picture())
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(InputError, match=f"a{suffix}.*(truncated|damaged)"):
        read_image(path)


def test_a_truncated_jpeg_with_a_whole_thumbnail_is_refused(tmp_path: Path) -> None:
    write_image(tmp_path / "thumb.jpg", picture(16, 16))
    write_image(tmp_path / "a.jpg", picture())
    thumbnail, plain = (tmp_path / name for name in ("thumb.jpg", "a.jpg"))
    body = b"Exif\0\0" + thumbnail.read_bytes()
    whole = plain.read_bytes()
    whole = whole[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + whole[2:]
    plain.write_bytes(whole)
    assert read_image(plain).shape == (48, 64, 3)
    plain.write_bytes(whole[: len(whole) - 200])
    with pytest.raises(InputError, match="truncated"):
        read_image(plain)


def test_bytes_after_the_end_do_no_harm(tmp_path: Path) -> None:
    for name in ("a.jpg", "a.png", "a.webp"):
        path = tmp_path / name
        write_image(path, picture())
        path.write_bytes(path.read_bytes() + b"trailer")
        assert read_image(path).shape == (48, 64, 3)


def test_a_flipped_byte_in_a_png_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    write_image(path, picture())
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0x10
    path.write_bytes(data)
    with pytest.raises(InputError, match="damaged PNG"):
        read_image(path)


def _png(width: int, height: int) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = chunk(b"IDAT", zlib.compress(bytes(1000)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + body + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (b"", "empty"),
        (b"just a text", "not a picture"),
        (b"\x89PNG\r\n\x1a\n", "truncated"),
        (b"\xff\xd8\xff\xd9", "JPEG|truncated"),
        (b"BM nothing at all", "damaged BMP"),
        (b"GIF89a" + bytes(40), "PNG, JPEG, WebP"),
        (_png(100_000, 100_000), "larger than pictures may be"),
        (_png(0, 0), "damaged"),
    ],
)
def test_what_is_no_picture_is_one_clear_error(content: bytes, word: str, tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(content)
    with pytest.raises(InputError, match=word) as caught:
        read_image(path)
    assert "a.png" in str(caught.value) and "\n" not in str(caught.value)


def test_missing_files_and_folders_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.png"):
        read_image(tmp_path / "none.png")
    with pytest.raises(InputError, match=tmp_path.name):
        read_image(tmp_path)


def test_decoders_do_not_chatter_on_stderr(tmp_path: Path) -> None:
    write_image(tmp_path / "a.bmp", picture())
    data = (tmp_path / "a.bmp").read_bytes()
    (tmp_path / "a.bmp").write_bytes(data[:500])
    script = (
        "import sys; from acf_edge.errors import InputError\n"
        "from acf_edge.imaging.files import read_image\n"
        "try: read_image(sys.argv[1])\n"
        "except InputError: print('refused')"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "a.bmp")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.stdout == "refused\n" and done.stderr == ""


@pytest.mark.parametrize("name", ["a.gif", "a", "a.mp4", "a.jp2"])
def test_unknown_suffixes_are_refused_with_the_known_ones(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"\.png, \.jpg"):
        write_image(tmp_path / name, picture())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("suffix", "width"), [(".webp", 16384), (".jpg", 65501)])
def test_formats_have_limits(suffix: str, width: int, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"{width}x1"):
        write_image(tmp_path / f"a{suffix}", np.zeros((1, width, 3), np.uint8))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((4, 4, 3), np.float32),
        np.zeros((0, 4, 3), np.uint8),
    ],
)
def test_only_rgb_bytes_are_written(array: Uint8Image, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no picture"):
        write_image(tmp_path / "a.png", array)


def test_an_old_picture_survives_a_failure(tmp_path: Path) -> None:
    write_image(tmp_path / "a.webp", picture())
    with pytest.raises(InputError):
        write_image(tmp_path / "a.webp", np.zeros((1, 20000, 3), np.uint8))
    assert np.array_equal(read_image(tmp_path / "a.webp"), picture())


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InputError, match="file"):
        write_image(tmp_path / "file" / "a.png", picture())


def test_lists_are_sorted_and_flat(tmp_path: Path) -> None:
    for name in ("b.PNG", "a.jpg", ".hidden.png", "notes.txt", "deep/c.png"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x")
    (tmp_path / "folder.png").mkdir()
    assert [path.name for path in list_images(tmp_path)] == ["a.jpg", "b.PNG"]


def test_empty_and_missing_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no pictures"):
        list_images(tmp_path)
    with pytest.raises(InputError, match="does not exist"):
        list_images(tmp_path / "none")
    (tmp_path / "a.png").write_bytes(b"x")
    with pytest.raises(InputError, match=r"a\.png"):
        list_images(tmp_path / "a.png")
