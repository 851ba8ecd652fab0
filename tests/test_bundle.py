"""Bundles: whole or not at all, and not one byte other than as built."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from toy_bundles import QUALITY, toy_ledger, toy_passport, write_toy

from acf_edge.engine import Passport, cache_key, load_engine, open_bundle, write_bundle
from acf_edge.engine.passport import InputProfile
from acf_edge.errors import InputError

FILES = ("model.onnx", "network.onnx", "report.html", "ledger.json", "passport.json")


def test_a_bundle_opens_as_it_was_written(tmp_path: Path) -> None:
    written = write_toy(tmp_path / "toy.bundle")
    bundle = open_bundle(tmp_path / "toy.bundle")
    assert sorted(file.name for file in bundle.path.iterdir()) == sorted(FILES)
    assert bundle == written
    assert bundle.ledger == toy_ledger()
    assert bundle.passport.accuracy[0].quality == (QUALITY,)
    assert bundle.passport.name == "toy-x2 fp32"
    assert bundle.passport.rebuild_command == "acf-edge build 'my weights.safetensors'"
    assert bundle.read("network.onnx") == b"the plain network"


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("place", [0, 0.5, -1])
def test_one_flipped_byte_is_found_and_named(tmp_path: Path, name: str, place: float) -> None:
    path = write_toy(tmp_path / "toy.bundle").path
    content = bytearray((path / name).read_bytes())
    content[int(place * len(content)) if place > 0 else int(place)] ^= 0x01
    (path / name).write_bytes(content)
    with pytest.raises(InputError) as caught:
        load_engine(path)
    message = str(caught.value)
    assert name in message and "\n" not in message
    assert "acf-edge build" in message


def test_every_byte_of_the_passport_counts(tmp_path: Path) -> None:
    text = write_toy(tmp_path / "toy.bundle").passport.dumps()
    for place in range(len(text)):
        for mask in (0x01, 0x20):
            spoilt = bytearray(text)
            spoilt[place] ^= mask
            with pytest.raises(InputError):
                Passport.loads(bytes(spoilt))
    assert Passport.loads(text).dumps() == text


@pytest.mark.parametrize("name", FILES)
def test_a_missing_or_shortened_file_is_named(tmp_path: Path, name: str) -> None:
    path = write_toy(tmp_path / "toy.bundle").path
    whole = (path / name).read_bytes()
    (path / name).write_bytes(whole[:-1])
    with pytest.raises(InputError, match=name):
        open_bundle(path, verify=False)
    (path / name).unlink()
    with pytest.raises(InputError, match=name):
        open_bundle(path)
    (path / name).mkdir()
    with pytest.raises(InputError, match=name):
        open_bundle(path)


def test_what_is_read_is_checked_even_if_the_opening_was_not(tmp_path: Path) -> None:
    path = write_toy(tmp_path / "toy.bundle").path
    content = bytearray((path / "model.onnx").read_bytes())
    content[10] ^= 0x40
    (path / "model.onnx").write_bytes(content)
    bundle = open_bundle(path, verify=False)
    with pytest.raises(InputError, match=r"model\.onnx"):
        bundle.read("model.onnx")
    with pytest.raises(InputError, match=r"model\.onnx"):
        load_engine(bundle)


@pytest.mark.parametrize(
    "name", ["../model.onnx", "/etc/passwd", "a/b", "..", "", ".hidden", "a\\b", "passport.json"]
)
def test_names_that_lead_elsewhere_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="cannot be the name"):
        write_bundle(tmp_path / "new", {name: b"x"}, toy_passport(), toy_ledger())
    assert not (tmp_path / "new").exists()
    bundle = write_toy(tmp_path / "toy.bundle")
    entry = bundle.passport.files["model.onnx"]
    crafted = replace(bundle.passport, files={**bundle.passport.files, name: entry})
    (bundle.path / "passport.json").write_bytes(crafted.dumps())
    with pytest.raises(InputError, match="forbidden name"):
        open_bundle(bundle.path)


def test_unlisted_files_are_left_alone(tmp_path: Path) -> None:
    bundle = write_toy(tmp_path / "toy.bundle")
    (bundle.path / "notes.txt").write_text("mine")
    assert "notes.txt" not in open_bundle(bundle.path).passport.files
    with pytest.raises(InputError, match=r"notes\.txt"):
        bundle.read("notes.txt")


def test_things_that_are_no_bundle(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file.onnx").write_bytes(b"x")
    (tmp_path / "big").mkdir()
    (tmp_path / "big" / "passport.json").write_bytes(b" " * (5 << 20))
    for name, expected in {
        "absent": "does not exist",
        "empty": "no passport.json",
        "file.onnx": "is a file",
        "big": "too large",
    }.items():
        with pytest.raises(InputError, match=expected):
            open_bundle(tmp_path / name)


def test_a_failed_write_leaves_the_old_bundle(tmp_path: Path) -> None:
    folder = write_toy(tmp_path / "toy.bundle").path
    with pytest.raises(InputError):
        write_bundle(folder, {"model.onnx": tmp_path / "absent"}, toy_passport(), toy_ledger())
    assert open_bundle(folder).read("network.onnx") == b"the plain network"
    assert [path.name for path in tmp_path.iterdir()] == ["toy.bundle"]


def test_a_folder_with_other_things_is_left_alone(tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    write_toy(folder)  # an empty one is taken
    write_toy(folder)  # and a bundle replaced
    (folder / "passport.json").rename(folder / "holiday.txt")
    before = sorted(folder.iterdir())
    with pytest.raises(InputError, match="something else"):
        write_toy(folder)
    assert sorted(folder.iterdir()) == before


def test_a_passport_that_could_not_be_read_again_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="notes"):
        write_bundle(tmp_path / "new", {}, toy_passport(notes=("two\nlines",)), toy_ledger())
    assert list(tmp_path.iterdir()) == []


def seal(data: dict[str, Any]) -> dict[str, Any]:
    """Give changed JSON the digest that fits it."""
    data.pop("digest", None)
    return {**data, "digest": cache_key(**data)}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("network", 5),
        ("network", "a\nb"),
        ("scale", 0),
        ("scale", "2"),
        ("precision", "int4"),
        ("runtime_version", None),
        ("weights_sha256", "ab"),
        ("weights_sha256", "AB" * 32),
        ("calibration_sha256", "x"),
        ("source_command", "acf-edge build"),
        ("source_command", ["acf-edge", 5]),
        ("notes", None),
        ("sm", 87),
        ("input_profiles", [{"minimum": [1, 2], "optimum": [1], "maximum": [3, 4]}]),
        ("files", []),
        ("files", {"model.onnx": {"sha256": "ab" * 32, "size": -1}}),
        ("accuracy", [{"stage": "trained"}]),
        ("created", ...),
        ("files", ...),
    ],
)
def test_a_wrong_or_missing_field_is_named(field: str, value: Any) -> None:
    data = toy_passport().to_json()
    if value is ...:
        del data[field]
    else:
        data[field] = value
    names = {"input_profiles": "optimum", "accuracy": "quality"}
    named = names.get(field, field) if value is not ... else field
    if field == "files" and isinstance(value, dict):
        named = "size"
    if field == "precision":
        named = "int4"
    with pytest.raises(InputError, match=named):
        Passport.from_json(seal(data))


def test_a_newer_passport_says_update() -> None:
    data = {"format_version": 2, "something": "else"}
    with pytest.raises(InputError, match=r"format_version 2.*Update acf-edge"):
        Passport.from_json(seal(data))
    with pytest.raises(InputError, match="damaged"):
        Passport.from_json({**seal(data), "format_version": 3})


def test_profiles_survive_json() -> None:
    profile = InputProfile((64, 64), (640, 360), (1920, 1080))
    passport = toy_passport(input_profiles=(profile,), sm="87", notes=("widths / 16",))
    assert Passport.loads(passport.dumps()) == passport


def test_the_cache_key_follows_the_result_and_nothing_else() -> None:
    base = toy_passport().cache_key
    for same in ({"created": "2030-01-01"}, {"runtime_version": "9.9"}, {"notes": ("x",)},
                 {"source_command": ("other",)}, {"device": "another"}):  # fmt: skip
        assert toy_passport(**same).cache_key == base
    for other in ({"scale": 4}, {"precision": "int8"}, {"weights_sha256": "cd" * 32},
                  {"calibration_sha256": "cd" * 32}, {"sm": "87"}, {"kernel_hash": "x"},
                  {"tensorrt_version": "10.3"}, {"target": "orin-nano"}):  # fmt: skip
        assert toy_passport(**other).cache_key != base
    assert cache_key(a=1, b=2) == cache_key(b=2, a=1) != cache_key(a=1, b=3)


def test_another_backend_is_named(tmp_path: Path) -> None:
    bundle = write_toy(tmp_path / "toy.bundle", backend="abacus")
    with pytest.raises(InputError, match="abacus"):
        load_engine(bundle.path)
