"""Still pictures: colour, transparency, orientation, profiles, and what formats cannot hold."""

from __future__ import annotations

import struct
import zlib
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
import pytest
from video_clips import FakeEngine, psnr, smooth_picture

from acf_edge.errors import InputError
from acf_edge.stream import enhance_file
from acf_edge.stream.image_container import embed_icc, inspect

_PROFILE = b"\x00" * 12 + b"mntrRGB XYZ " + bytes(range(256)) * 300  # over one JPEG segment


def _save(path: Path, rgb: np.ndarray, *flags: int) -> Path:
    planes = rgb if rgb.ndim == 2 else rgb[..., [2, 1, 0, *range(3, rgb.shape[2])]]
    assert cv2.imwrite(str(path), planes, list(flags))
    return path


def _load(path: Path) -> np.ndarray:
    raw = cv2.imread(str(path), cv2.IMREAD_UNCHANGED | cv2.IMREAD_IGNORE_ORIENTATION)
    return raw if raw.ndim == 2 else raw[..., [2, 1, 0, *range(3, raw.shape[2])]]


def _twice(picture: np.ndarray) -> np.ndarray:
    return picture.repeat(2, 0).repeat(2, 1)


@pytest.mark.parametrize("source_suffix", [".png", ".jpg", ".webp"])
@pytest.mark.parametrize("target_suffix", [".png", ".jpg", ".jpeg", ".webp"])
def test_colours(tmp_path: Path, source_suffix: str, target_suffix: str) -> None:
    picture = smooth_picture(40, 56)
    source = _save(tmp_path / f"in{source_suffix}", picture)
    target = tmp_path / f"out{target_suffix}"
    summary = enhance_file(source, target, FakeEngine(2))
    assert psnr(_load(target), _twice(picture)) > 30
    assert summary.kind == "image" and summary.frames == 1
    assert (summary.width_in, summary.height_in) == (56, 40)
    assert (summary.width_out, summary.height_out) == (112, 80)


def test_png_is_exact(tmp_path: Path) -> None:
    picture = smooth_picture(33, 47)
    source = _save(tmp_path / "in.png", picture)
    enhance_file(source, tmp_path / "out.png", FakeEngine(2))
    assert np.array_equal(_load(tmp_path / "out.png"), _twice(picture))


@pytest.mark.parametrize("suffix", [".png", ".webp"])
def test_transparency_is_kept(tmp_path: Path, suffix: str) -> None:
    picture = smooth_picture(40, 56)
    alpha = np.zeros((40, 56), np.uint8)
    alpha[10:30, 10:40] = 255
    source = _save(tmp_path / "in.png", np.dstack([picture, alpha]))
    enhance_file(source, tmp_path / f"out{suffix}", FakeEngine(2))
    after = _load(tmp_path / f"out{suffix}")
    assert after.shape == (80, 112, 4)
    assert after[40, 50, 3] == 255 and after[5, 5, 3] == 0
    assert after[24:56, 24:76, 3].min() > 250 and after[:16, :, 3].max() < 5
    inside = (slice(24, 56), slice(24, 76))
    assert psnr(after[inside][..., :3], _twice(picture)[inside]) > 33


def test_jpeg_has_no_transparency_and_says_so(tmp_path: Path) -> None:
    picture = np.zeros((32, 32, 4), np.uint8)
    picture[:, 16:, 3] = 255
    source = _save(tmp_path / "in.png", picture)
    summary = enhance_file(source, tmp_path / "out.jpg", FakeEngine(2))
    after = _load(tmp_path / "out.jpg")
    assert after[:, :24].min() > 240 and after[:, 40:].max() < 15
    assert any("laid over white" in note for note in summary.notes)


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_grey_stays_grey(tmp_path: Path, suffix: str) -> None:
    class Tinting(FakeEngine):
        def run(self, frame: np.ndarray) -> np.ndarray:
            out = super().run(frame).astype(np.int16) + np.array([3, 0, -3], np.int16)
            return np.clip(out, 0, 255).astype(np.uint8)

    grey = np.clip(smooth_picture(40, 56)[..., 1], 10, 245)
    source = _save(tmp_path / "in.png", grey)
    enhance_file(source, tmp_path / f"out{suffix}", Tinting(2))
    after = _load(tmp_path / f"out{suffix}")
    assert after.ndim == 2
    assert np.abs(after.astype(int) - _twice(grey)).max() <= (0 if suffix == ".png" else 12)


def test_sixteen_bits_become_eight_and_it_is_said(tmp_path: Path) -> None:
    picture = smooth_picture(20, 30)
    assert cv2.imwrite(str(tmp_path / "in.png"), picture[..., ::-1].astype(np.uint16) * 257)
    summary = enhance_file(tmp_path / "in.png", tmp_path / "out.png", FakeEngine(2))
    assert np.array_equal(_load(tmp_path / "out.png"), _twice(picture))
    assert any("16-bit" in note for note in summary.notes)


def test_palette_with_transparency(tmp_path: Path) -> None:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    rows = b"".join(b"\x00" + bytes([0, 0, 1, 1]) for _ in range(4))
    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 4, 4, 8, 3, 0, 0, 0))
    data += chunk(b"PLTE", bytes([200, 30, 40, 20, 40, 220])) + chunk(b"tRNS", bytes([255, 0]))
    data += chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    (tmp_path / "in.png").write_bytes(data)
    enhance_file(tmp_path / "in.png", tmp_path / "out.png", FakeEngine(2))
    after = _load(tmp_path / "out.png")
    assert after.shape == (8, 8, 4)
    assert after[4, 0].tolist() == [200, 30, 40, 255]
    assert after[4, 7].tolist() == [20, 40, 220, 0]


def _exif(orientation: int, order: str) -> bytes:
    mark = b"II" if order == "<" else b"MM"
    entry = struct.pack(order + "HHIHH", 0x0112, 3, 1, orientation, 0)
    return mark + struct.pack(order + "HIH", 42, 8, 1) + entry + struct.pack(order + "I", 0)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied_as_opencv_applies_it(
    tmp_path: Path, orientation: int, order: str
) -> None:
    jpeg = cv2.imencode(".jpg", smooth_picture(24, 40))[1].tobytes()
    body = b"Exif\x00\x00" + _exif(orientation, order)
    data = jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + jpeg[2:]
    source, target = tmp_path / "in.jpg", tmp_path / "out.png"
    source.write_bytes(data)
    enhance_file(source, target, FakeEngine(1))
    shown = cv2.imread(str(source), cv2.IMREAD_COLOR)[..., ::-1]  # OpenCV turns it here
    assert np.array_equal(_load(target), shown)
    assert not inspect(target.read_bytes()).has_exif


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp"])
def test_colour_profiles_are_carried_between_formats(tmp_path: Path, suffix: str) -> None:
    image_module = pytest.importorskip("PIL.Image", reason="an independent reader of profiles")
    picture = smooth_picture(24, 40)
    sources = {}
    for kind in ("PNG", "JPEG", "WEBP"):
        buffer = BytesIO()
        image_module.fromarray(picture).save(buffer, kind, icc_profile=_PROFILE, quality=95)
        sources[kind] = buffer.getvalue()
    for kind, data in sources.items():
        source, target = tmp_path / f"in-{kind}.{kind.lower()}", tmp_path / f"{kind}{suffix}"
        source.write_bytes(data)
        enhance_file(source, target, FakeEngine(2))
        with image_module.open(target) as after:
            assert after.info["icc_profile"] == _PROFILE
            assert psnr(np.asarray(after.convert("RGB")), _twice(picture)) > 30


def test_a_profile_beside_transparency_in_webp(tmp_path: Path) -> None:
    image_module = pytest.importorskip("PIL.Image")
    picture = np.dstack([smooth_picture(24, 40), np.full((24, 40), 128, np.uint8)])
    buffer = BytesIO()
    image_module.fromarray(picture).save(buffer, "PNG", icc_profile=_PROFILE)
    (tmp_path / "in.png").write_bytes(buffer.getvalue())
    enhance_file(tmp_path / "in.png", tmp_path / "out.webp", FakeEngine(2))
    with image_module.open(tmp_path / "out.webp") as after:
        assert after.info["icc_profile"] == _PROFILE and after.mode == "RGBA"
        assert abs(int(np.asarray(after)[..., 3].mean()) - 128) <= 1


def test_a_profile_of_another_space_is_left_out() -> None:
    jpeg = cv2.imencode(".jpg", smooth_picture(24, 40))[1].tobytes()
    assert inspect(embed_icc(jpeg, _PROFILE)).icc == _PROFILE
    assert inspect(embed_icc(jpeg, _PROFILE.replace(b"RGB ", b"CMYK"))).icc == b""


def test_animated_webp_is_refused(tmp_path: Path) -> None:
    image_module = pytest.importorskip("PIL.Image")
    frames = [image_module.fromarray(smooth_picture(16, 16, i)) for i in range(3)]
    frames[0].save(tmp_path / "in.webp", save_all=True, append_images=frames[1:])
    with pytest.raises(InputError, match="is animated"):
        enhance_file(tmp_path / "in.webp", tmp_path / "out.webp", FakeEngine(2))


def test_a_wrong_suffix_does_not_matter(tmp_path: Path) -> None:
    picture = smooth_picture(20, 20)
    source = _save(tmp_path / "in.png", picture).rename(tmp_path / "in.jpg")
    enhance_file(source, tmp_path / "out.png", FakeEngine(2))
    assert np.array_equal(_load(tmp_path / "out.png"), _twice(picture))


def test_webp_has_a_largest_size(tmp_path: Path) -> None:
    source = _save(tmp_path / "in.png", np.zeros((2, 9000, 3), np.uint8))
    engine = FakeEngine(2)
    with pytest.raises(InputError, match=r"at most 16383 pixels a side, not 18000x4.*\.png"):
        enhance_file(source, tmp_path / "out.webp", engine)
    assert engine.calls == 0
    enhance_file(source, tmp_path / "out.png", engine)


def test_an_image_cannot_become_a_video(tmp_path: Path) -> None:
    source = _save(tmp_path / "in.png", smooth_picture(8, 8))
    with pytest.raises(InputError, match=r"is an image and .* would be a video"):
        enhance_file(source, tmp_path / "out.mp4", FakeEngine(2))
