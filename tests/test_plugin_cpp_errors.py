"""What the C++ plugin refuses, how it tells, and how it is registered."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from plugin_cases import Case
from plugin_tools import (
    HERE,
    STRICT,
    Built,
    Walk,
    built_plugin,
    cuda_headers,
    headers,
    program,
    run,
    walk,
)

VOTE = Case("JunctionVote", "fp16", "hwc8", 1, 8, 3, 9, 7)
ATTENTION = Case("ChannelSpatialAttention", "fp16", "hwc8", 2, 12, 1, 6, 11)


@pytest.fixture(scope="module")
def built() -> Built:
    return built_plugin()


def created(built: Built, *fields: str, operator: str = "JunctionVote") -> Walk:
    words = [f"op={operator}", *(f"field={field}" for field in fields), "stop=created"]
    return walk(built, words, host=False)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ((), "field 'branches' is missing"),
        (("branches:int32:0",), "must be 1 or more, not 0"),
        (("branches:int64:4294967297",), "must be 1 or more, not 4294967297"),
        (("branches:float32:3",), "must be a whole number"),
        (("branches:int32:3:2",), "must hold one value, not 2"),
        (("branches:int32:3", "branches:int32:3"), "came twice"),
        (("branches:int32:3", "colour:int32:3"), "JunctionVote has no field 'colour'"),
        (("branches:int32:3", "features_scale:float32:nan"), "must be finite and 0 or more"),
        (("branches:int32:3", "output_scale:float32:-1"), "must be finite and 0 or more"),
        (("branches:int32:3", "features_scale:int32:1"), "must be a float"),
        (("branches:int32:3", "features_scale:float32:0.1"), "belong together"),
    ],
)
def test_fields_that_mean_nothing_create_nothing(
    built: Built, fields: tuple[str, ...], says: str
) -> None:
    told = created(built, *fields)

    assert told.one("created") == "nothing"
    assert "acf plugin: JunctionVote, creation: " in told.errors
    assert says in told.errors


def test_what_the_parser_gives_is_taken(built: Built) -> None:
    """Whole numbers of either width; scales that are left out are 0."""
    assert created(built, "branches:int64:3").one("created") == "plugin"
    assert created(built, "branches:int32:1").one("created") == "plugin"
    assert created(built, operator="ChannelSpatialAttention").one("created") == "plugin"
    branches = created(built, "branches:int32:3", operator="ChannelSpatialAttention")
    assert branches.one("created") == "nothing"


def changed(case: Case, index: int, word: str) -> list[str]:
    """The case's words with another tensor in that place (-1: the output)."""
    words = case.words()
    places = [at for at, text in enumerate(words) if text.startswith(("in=", "out="))]
    words[places[index]] = word
    return [*words, "stop=built"]


@pytest.mark.parametrize(
    ("case", "index", "word", "says"),
    [
        (VOTE, 1, "in=fp16:hwc8:1x24x9x8", "element_logits is (1, 24, 9, 8), not (1, 24, 9, 7)"),
        (VOTE, 2, "in=fp16:linear:24x8", "weight is (24, 8), not (24, 24)"),
        (VOTE, 3, "in=fp16:linear:8", "bias is (8), not (24)"),
        (VOTE, -1, "out=fp16:hwc8:1x24x9x7", "output is (1, 24, 9, 7), not (1, 8, 9, 7)"),
        (VOTE, 0, "in=fp16:hwc8:1x25x9x7", "25 channels cannot be shared among 3 branches"),
        (VOTE, 3, "in=fp32:linear:24", "weights and biases must be all FP16 or all FP32"),
        (VOTE, 1, "in=fp32:linear:1x24x9x7", "must have the type of the features"),
        (VOTE, 0, "in=int8:chw32:1x24x9x7", "without scales they must be FP16 or FP32"),
        (ATTENTION, 1, "in=fp16:hwc8:2x3x6x11", "must have 1 or 12 channels"),
        (ATTENTION, 4, "in=fp16:linear:5x12", "excite_weight is (5, 12), not (12, 5)"),
        (ATTENTION, 0, "in=fp16:hwc8:2x12x66", "must have 4 dimensions (NCHW)"),
    ],
)
def test_tensors_that_do_not_fit_are_named(
    built: Built, case: Case, index: int, word: str, says: str
) -> None:
    told = walk(built, changed(case, index, word), host=False)

    assert says in told.errors
    assert not told.of("workspace")


def test_scales_without_int8_are_told(built: Built) -> None:
    fields = ("features_scale", "logits_scale", "output_scale")
    words = [*(f"field={name}:float32:0.1" for name in fields), *VOTE.words(), "stop=built"]

    told = walk(built, words, host=False)

    assert told.one("types") == "1 -1"
    assert "features are FP16, but the scales are set: they must be INT8" in told.errors


def refused(built: Built, folder: Path, environment: dict[str, str], **keys: bool) -> str:
    """What is told when the launches cannot be prepared."""
    told = walk(built, VOTE.words(folder), environment=environment, host=False, **keys)
    assert told.code == 0
    assert told.one("shape-change") == "1"
    assert not told.of("enqueue")
    return told.errors


@pytest.mark.parametrize(
    ("environment", "says"),
    [
        ({"ACF_STAND_IN_SM": "75"}, "no kernels for SM 75; this build has 87"),
        ({"ACF_STAND_IN_SM": "75"}, "build it again with -DACF_SMS=75"),
        # Code of a Jetson is for that Jetson.
        ({"ACF_STAND_IN_SM": "89"}, "no kernels for SM 89"),
        ({"ACF_STAND_IN_NO_CONTEXT": "1"}, "no CUDA context is current on this thread"),
        ({"ACF_STAND_IN_KERNELS": "/dev/null"}, "the embedded code has no kernel 'acf_means_nhwc"),
        (
            {"ACF_STAND_IN_REFUSES": "1", "ACF_STAND_IN_DRIVER": "12060"},
            "the driver (for CUDA 12.6) refused the kernels for SM 87 that NVRTC",
        ),
    ],
)
def test_a_gpu_that_cannot_run_the_kernels_is_told(
    built: Built, environment: dict[str, str], says: str, tmp_path: Path
) -> None:
    assert says in refused(built, tmp_path, environment)


def test_without_a_driver_the_way_out_is_told(built: Built, tmp_path: Path) -> None:
    probe = "import ctypes; ctypes.CDLL('libcuda.so.1')"
    if subprocess.run(["python3", "-c", probe], capture_output=True, check=False).returncode == 0:
        pytest.skip("this machine has an NVIDIA driver")

    assert "no NVIDIA driver: libcuda.so.1" in refused(built, tmp_path, {}, with_cuda=False)


def registry(built: Built, folder: Path, version: str) -> Path:
    """A libnvinfer with a registry and nothing else, of that version."""
    compiler, name = program("g++"), f"libnvinfer.so.{version.split('.')[0]}"
    places = ["-isystem", headers()[version], "-isystem", cuda_headers()]
    flags = ["-shared", "-fPIC", f"-Wl,-soname,{name}"]
    source = HERE / "plugin_registry.cpp"
    run([compiler, *STRICT, "-Wno-error", *places, *flags, source, "-o", folder / name])
    return folder / name


def versions(major: str) -> list[str]:
    return [version for version in headers() if version.split(".")[0] == major]


def test_messages_go_to_the_logger_of_the_same_major_version(built: Built, tmp_path: Path) -> None:
    """TensorRT 11 changed what a finder of loggers looks like: another one's is not touched."""
    words = ["op=JunctionVote", "stop=created"]
    ours = registry(built, tmp_path, built.version)

    told = walk(built, [*words, f"trt={ours}"], host=False)
    assert told.one("log") == "1 acf plugin: JunctionVote, creation: field 'branches' is missing"
    assert not told.errors

    other = versions("11" if built.version.startswith("10.") else "10")
    if not other:
        pytest.skip("there are headers of one major version of TensorRT alone")
    theirs = registry(built, tmp_path, other[-1])
    told = walk(built, [*words, f"trt={theirs}"], host=False)
    assert not told.of("log")
    assert "field 'branches' is missing" in told.errors


def test_a_library_that_is_only_opened_registers_by_itself(built: Built, tmp_path: Path) -> None:
    """As Triton and DeepStream open plugins; within a major version, of any minor one."""
    newest = versions(built.version.split(".")[0])[-1]
    nvinfer = registry(built, tmp_path, newest)
    # The registry hands on what was registered, as a library of plugins does: so it can be walked.
    environment = {"LD_PRELOAD": str(built.preload), "LD_LIBRARY_PATH": str(tmp_path)}
    found = {}
    for name, variables in (("opened", environment), ("not", {"LD_LIBRARY_PATH": str(tmp_path)})):
        told = walk(
            built,
            ["op=JunctionVote", "field=branches:int32:3", "stop=created"],
            library=nvinfer,
            environment=variables,
            host=False,
        )
        found[name] = [line.split()[2:] for line in told.of("creator")]

    assert found["opened"] == [
        ["JunctionVote", "1", "acf"],
        ["ChannelSpatialAttention", "1", "acf"],
    ]
    assert found["not"] == []


def test_the_library_needs_neither_tensorrt_nor_cuda(built: Built) -> None:
    """So that one file serves what it was not linked against; the other needs TensorRT by name."""
    needed = run([program("readelf"), "--dynamic", built.library])
    by_itself = run(["readelf", "--dynamic", built.preload])

    assert "nvinfer" not in needed and "cuda" not in needed
    major = built.version.split(".")[0]
    assert f"[libnvinfer.so.{major}]" in by_itself and "cuda" not in by_itself
