"""Hardware decoders and encoders are tried, and taken only if they work."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import av
import numpy as np
import pytest

from acf_edge.stream import hardware


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    hardware.decoder_fails.cache_clear()
    hardware.encoder_fails.cache_clear()
    yield
    hardware.decoder_fails.cache_clear()
    hardware.encoder_fails.cache_clear()


@pytest.mark.parametrize("codec", ["h264", "hevc", "vp9", "mjpeg"])
def test_the_choice_opens_here_whatever_this_machine_is(codec: str) -> None:
    chosen = hardware.best_decoder(codec)
    assert chosen.codec == codec and chosen.note
    packets, wanted = hardware._trial(codec)
    context = av.CodecContext.create(codec, "r", hwaccel=chosen.hwaccel())
    frames = [frame for packet in (*packets, None) for frame in context.decode(packet)]
    assert len(frames) == len(wanted) == 4
    assert context.is_hwaccel is bool(chosen.device)


@pytest.mark.parametrize("codec", ["h264", "hevc"])
def test_the_chosen_encoder_encodes_here_whatever_this_machine_is(codec: str) -> None:
    chosen = hardware.best_encoder(codec)
    packets = hardware._encode(chosen.name, chosen.pixel_format, dict(chosen.options))
    assert len(packets) == 4 and chosen.note


def test_a_machine_without_a_driver_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_library(name: str) -> None:
        raise OSError(f"{name}: cannot open shared object file")

    monkeypatch.setattr(hardware.ctypes, "CDLL", no_library)
    monkeypatch.setattr(hardware, "hwdevices_available", lambda: ["cuda"])
    chosen = hardware.best_decoder("h264")
    assert not chosen.device and chosen.hwaccel() is None
    assert "in software" in chosen.note and "no NVIDIA driver" in chosen.note
    encoder = hardware.best_encoder("h264")
    assert encoder.name == "libx264" or not encoder.name.endswith("nvenc")
    assert hardware.describe()[0][2] == ""


def test_a_driver_without_its_video_part_names_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    def compute_alone(name: str) -> object:
        if name == "libcuda.so.1":
            return object()
        raise OSError(name)

    monkeypatch.setattr(hardware.ctypes, "CDLL", compute_alone)
    monkeypatch.setattr(hardware, "hwdevices_available", lambda: ["cuda"])
    monkeypatch.setattr(hardware, "_ENCODERS", {"h264": ("h264_nvenc",)})
    assert "libnvcuvid.so.1 is missing" in hardware.best_decoder("h264").note
    assert "libnvidia-encode.so.1 is missing" in hardware.best_encoder("h264").note
    for row in hardware.describe():
        assert row[2] == "NVIDIA_DRIVER_CAPABILITIES=all"


class Device:
    """Stands in for PyAV's codec contexts of a device; it decodes in software."""

    def __init__(self, real: Any, pictures: int = 4, brighter: int = 0, taken: bool = True) -> None:
        self._real = real
        self._pictures, self._brighter, self._taken = pictures, brighter, taken

    def __call__(self, name: str, mode: str, hwaccel: object = None) -> Any:
        context = self._real(name, mode)
        if hwaccel is None:
            return context
        frames: list[av.VideoFrame] = []

        class Fake:
            is_hwaccel = self._taken

            def decode(_, packet: Any) -> list[av.VideoFrame]:
                made = [self._change(frame) for frame in context.decode(packet)]
                room = self._pictures - len(frames)
                frames.extend(made[:room])
                return made[:room]

        return Fake()

    def _change(self, frame: av.VideoFrame) -> av.VideoFrame:
        grey = hardware._grey(frame) + self._brighter
        return av.VideoFrame.from_ndarray(grey.clip(0, 255).astype(np.uint8), format="gray")


@pytest.mark.parametrize(
    ("device", "reason"),
    [
        ({"pictures": 4}, ""),
        ({"pictures": 3}, "it gave 3 of 4 pictures"),
        ({"brighter": 9}, "it gave other pictures than software does"),
        ({"taken": False}, "it does not take h264"),
    ],
)
def test_a_device_is_believed_only_for_pictures_like_those_of_software(
    device: dict[str, Any], reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Contexts:
        create = Device(av.CodecContext.create, **device)

    monkeypatch.setattr(hardware, "CodecContext", Contexts)
    monkeypatch.setattr(hardware, "hwdevices_available", lambda: ["cuda"])
    monkeypatch.setattr(hardware, "_missing_library", lambda kind, task: "")
    monkeypatch.setattr(hardware, "HWAccel", lambda *args, **more: args[0])
    assert hardware.decoder_fails("h264", "cuda") == reason
    chosen = hardware.best_decoder("h264")
    assert chosen.device == ("" if reason else "cuda")
    assert chosen.note == "NVDEC decodes h264" if not reason else reason in chosen.note


def test_a_device_that_raises_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    def raising(*args: object, **more: object) -> None:
        raise RuntimeError("Hardware accelerated decode requested\nbut no stream is compatible.")

    monkeypatch.setattr(hardware, "hwdevices_available", lambda: ["cuda", "vaapi"])
    monkeypatch.setattr(hardware, "_missing_library", lambda kind, task: "")
    monkeypatch.setattr(hardware, "HWAccel", raising)
    note = hardware.best_decoder("hevc").note
    assert note.count("no stream is compatible") == 2 and "\n" not in note


def test_a_device_is_tried_once(monkeypatch: pytest.MonkeyPatch) -> None:
    tried = []

    def library(kind: str, task: str) -> str:
        tried.append(kind)
        return "away"

    monkeypatch.setattr(hardware, "hwdevices_available", lambda: ["cuda"])
    monkeypatch.setattr(hardware, "_missing_library", library)
    for _ in range(3):
        hardware.best_decoder("h264")
    assert tried == ["cuda"]


def test_software_can_be_asked_for() -> None:
    assert hardware.best_decoder("h264", hardware=False).hwaccel() is None
    chosen = hardware.best_encoder("hevc", hardware=False)
    assert (chosen.name, chosen.hardware) == ("libx265", False)
    assert hardware.best_decoder("av1").device == ""


def test_the_doctor_gets_two_lines() -> None:
    rows = hardware.describe()
    assert [row[0] for row in rows] == ["decode video in hardware", "encode video in hardware"]
    assert all(len(row) == 3 and row[1] for row in rows)
