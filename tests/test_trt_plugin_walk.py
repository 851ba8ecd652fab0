"""Python plugins on real bindings, walked by C++ as TensorRT does; and the bindings themselves.

The walk is the C++ plugin's own (plugin_host.cpp): what it tells has to be the same, line by line.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import fake_tensorrt
import numpy as np
import plugin_tools
import pytest
import trt_bindings
from plugin_cases import Case

VERSIONS = list(trt_bindings.bindings()) or [
    pytest.param("", marks=pytest.mark.skip(reason="no bindings of TensorRT are installed"))
]
VOTE = Case("JunctionVote", "fp16", "hwc8", 1, 8, 3, 9, 7)
ATTENTION = Case("ChannelSpatialAttention", "fp16", "hwc8", 2, 12, 1, 6, 11)
CASES = [
    VOTE,
    replace(VOTE, dtype="fp32", form="linear", weights="fp32", n=2, height=5, width=3),
    replace(VOTE, dtype="int8", form="chw32"),
    replace(VOTE, shift=2),
    ATTENTION,
    replace(ATTENTION, extra=12, dtype="fp32", form="linear", weights="fp32"),
]
LIFE = """
import gc, sys
import numpy as np
from acf_edge.engine.trt.api import load_api
from acf_edge.engine.trt.plugin_class import make_creator
api = load_api("tensorrt")
trt = api.module
types = trt.PluginFieldType
for operator in ("JunctionVote", "ChannelSpatialAttention"):
    creator = make_creator(api, operator, lambda: None)
    shown = [(f.name, f.type.name, f.size) for f in creator.field_names]
    assert all(f.data is None or len(f.data) for f in creator.field_names)
    values = {n: np.array([s], np.float32) for n, s in zip(
        ("features_scale", "logits_scale", "output_scale"), (0.5, 0.25, 0.125))}
    fields = [trt.PluginField(n, v, types.FLOAT32) for n, v in values.items()]
    if operator == "JunctionVote":
        values["branches"] = np.array([3], np.int32)
        fields.insert(0, trt.PluginField("branches", values["branches"], types.INT32))
    given = trt.PluginFieldCollection(fields)
    plugin = creator.create_plugin("node", given, trt.TensorRTPhase.BUILD)
    del given, fields
    for value in values.values():
        value[:] = 99
    for _ in range(300):
        plugin = plugin.clone() if _ % 2 else plugin.attach_to_context(None)
    gc.collect()
    written = [(f.name, f.type.name, f.data.tolist()) for f in plugin.get_fields_to_serialize()]
    print([shown, written, plugin.num_outputs, plugin.plugin_name, plugin.plugin_namespace])
    kinds = [trt.DataType.INT8] * 2 + [trt.DataType.HALF] * (2 if operator[0] == "J" else 4)
    assert plugin.get_output_data_types(kinds) == [trt.DataType.INT8]
    tensors = [trt.DynamicPluginTensorDesc() for _ in range(len(kinds) + 1)]
    for tensor, kind in zip(tensors, [*kinds, trt.DataType.INT8]):
        eight = kind == trt.DataType.INT8
        tensor.desc.type = kind
        tensor.desc.format = trt.TensorFormat.CHW32 if eight else trt.TensorFormat.LINEAR
    for place in range(len(tensors)):
        assert plugin.supports_format_combination(place, tensors, len(kinds))
    tensors[-1].desc.format = trt.TensorFormat.LINEAR
    assert not plugin.supports_format_combination(len(kinds), tensors, len(kinds))
"""


@pytest.mark.parametrize("version", VERSIONS)
def test_the_python_side_of_a_life_works_without_the_library(version: str) -> None:
    folder = trt_bindings.libraries(version)
    done = trt_bindings.python(version, ["-c", LIFE], folder)
    assert done.returncode == 0, done.stderr
    scales = [(name, "FLOAT32") for name in ("features_scale", "logits_scale", "output_scale")]
    both = [[("branches", "INT32"), *scales], scales]
    values: list[list[Any]] = [[[3], [0.5], [0.25], [0.125]], [[0.5], [0.25], [0.125]]]
    names = ["JunctionVote", "ChannelSpatialAttention"]
    for line, fields, held, name in zip(done.stdout.splitlines(), both, values, names, strict=True):
        written = [(*field, value) for field, value in zip(fields, held, strict=True)]
        assert line == str([[(*field, 1) for field in fields], written, 1, name, "acf"])


NAMES = """
import json
from acf_edge.engine.trt.api import load_api
trt = load_api("tensorrt").module
found = {}
for name in dir(trt):
    kind = getattr(trt, name)
    if hasattr(kind, "__members__"):
        found[name] = {member: int(value) for member, value in kind.__members__.items()}
    elif isinstance(kind, type):
        found[name] = [one for one in dir(kind) if not one.startswith("_")]
print(json.dumps(found))
"""


@pytest.mark.parametrize("version", VERSIONS)
def test_the_stand_in_has_the_names_and_numbers_of_the_real_one(version: str) -> None:
    folder = trt_bindings.libraries(version)
    done = trt_bindings.python(version, ["-c", NAMES], folder)
    assert done.returncode == 0, done.stderr
    real = json.loads(done.stdout)
    fake = fake_tensorrt.make(version)
    checked = 0
    for name in dir(fake):
        kind = getattr(fake, name)
        if not isinstance(kind, type):
            continue
        assert name in real, name
        if hasattr(kind, "__members__"):
            made = {member: int(value) for member, value in kind.__members__.items()}
            assert made.items() <= real[name].items(), name
            checked += len(made)
    assert checked > 80
    # What contexts, engines and configurations of the stand-in answer to, the real ones do.
    for name, kind in (("IBuilderConfig", fake.IBuilderConfig), ("Runtime", fake.Runtime)):
        ours = {one for one in vars(kind.__mro__[1]) if not one.startswith("_")}
        assert ours <= {*real[name], "module", "world"}, name


def told(version: str, case: Case, folder: Path, *more: str) -> plugin_tools.Walk:
    include = trt_bindings.headers_for(version)
    libraries = trt_bindings.libraries(version, include)
    registry = next(libraries.glob("libnvinfer.so.*"))
    words = [registry, trt_bindings.walker(version, include), *case.words(folder), *more]
    done = trt_bindings.python(
        version,
        [Path(trt_bindings.__file__).with_name("plugin_in_process.py"), *words],
        libraries,
        ACF_STAND_IN_HOST=str(plugin_tools.emulation()),
    )
    lines = [line.partition(" ")[::2] for line in done.stdout.splitlines()]
    return plugin_tools.Walk(lines, done.stderr, done.returncode)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("case", CASES, ids=lambda case: str(case)[5:60])
def test_a_whole_life_gives_the_references_result(version: str, case: Case, tmp_path: Path) -> None:
    """Creation, clone, build, fields written and read, context, launches: called by C++."""
    found = told(version, case, tmp_path)
    assert found.code == 0, found.errors
    assert found.one("bodies") == "python python"
    assert found.one("read") == "plugin"
    assert found.of("enqueue") == ["0", "0"], (found.lines, found.errors)
    assert found.of("guards") == ["intact", "intact"]
    assert found.one("again") == "same"
    assert found.one("error") == ""
    result, padding = case.output(tmp_path)
    relative, absolute = case.tolerances()
    np.testing.assert_allclose(result, case.expected(), rtol=relative, atol=absolute)
    assert not padding.any()


@pytest.mark.parametrize("version", VERSIONS)
def test_what_does_not_fit_is_refused_with_its_reason(version: str, tmp_path: Path) -> None:
    wrong = replace(VOTE)
    wrong.shapes[3] = [7]
    found = told(version, wrong, tmp_path)
    assert found.one("configure") != "0"
    assert "JunctionVote, configure: bias is (7,), not (24,)" in found.one("error")


# Lines that say the same of both bodies.
SAME = ("creator", "advertises", "core", "types", "shapes", "combination", "configure", "tactics")
SAME += ("serialized",)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("profile", ["", "profile=64x48"])
def test_both_bodies_tell_the_same(version: str, profile: str, tmp_path: Path) -> None:
    include = trt_bindings.headers_for(version)
    built = trt_bindings.cpp_plugin(version, include)
    for case in (VOTE, replace(VOTE, dtype="int8", form="chw32"), ATTENTION):
        more = ["stop=built", *([profile] if profile else [])]
        python = told(version, case, tmp_path, *more)
        cpp = plugin_tools.walk(built, [*case.words(), *more], with_cuda=False, host=False)
        for step in SAME:
            assert python.of(step), step
            assert python.of(step) == cpp.of(step), step
