"""What is said beside DeepStream's files."""

from __future__ import annotations

from acf_edge.engine.passport import Passport
from acf_edge.engine.trt.plugin_library import PRELOADED
from acf_edge.handover.source import INPUT, OUTPUT

_TEXT = """# {title} for DeepStream

| tensor | type | shape | |
|---|---|---|---|
| `{input}` | float32 | `[1, 3, {height}, {width}]` | RGB planes, 0 to 255 |
| `{output}` | float32 | `[1, 3, {large_height}, {large_width}]` | RGB planes, 0 to 255 |

`nvinfer` makes the first; the second holds whole numbers. Nothing of this was run under
DeepStream; it is written from its manual and its source.

1. On the GPU that will run it: `./build_engine.sh` (`trtexec --stronglyTyped`: the types in the
   ONNX are those of the engine). `nvinfer` takes the engine from `model-engine-file`.
2. Try it. Give the muxer the network's size, or `nvinfer` scales once more:

       gst-launch-1.0 -e nvstreammux name=mux batch-size=1 width={width} height={height} \\
         ! nvinfer config-file-path=config_infer.txt ! fakesink sync=false \\
         uridecodebin uri=file:///path/to/clip.mp4 ! mux.sink_0

{plugins}## Read the picture

The enhanced picture is no part of the video: it hangs on each frame as tensor meta
(`NVDSINFER_TENSOR_OUTPUT_META`, an `NvDsInferTensorMeta`), one layer, `{output}`. Its
`out_buf_ptrs_dev[0]` is the buffer on the GPU, `out_buf_ptrs_host[0]` the copy on the host. A probe
on `nvinfer`'s source pad, with DeepStream's Python bindings:

```python
import ctypes

import numpy as np
import pyds
from gi.repository import Gst


def enhanced(pad, info, _):
    batch = pyds.gst_buffer_get_nvds_batch_meta(hash(info.get_buffer()))
    frames = batch.frame_meta_list
    while frames is not None:
        frame = pyds.NvDsFrameMeta.cast(frames.data)
        metas = frame.frame_user_meta_list
        while metas is not None:
            meta = pyds.NvDsUserMeta.cast(metas.data)
            if meta.base_meta.meta_type == pyds.NvDsMetaType.NVDSINFER_TENSOR_OUTPUT_META:
                tensor = pyds.NvDsInferTensorMeta.cast(meta.user_meta_data)
                layer = pyds.get_nvds_LayerInfo(tensor, 0)
                address = ctypes.cast(pyds.get_ptr(layer.buffer), ctypes.POINTER(ctypes.c_float))
                planes = np.ctypeslib.as_array(address, (3, {large_height}, {large_width}))
                picture = planes.transpose(1, 2, 0).astype(np.uint8)  # a copy: RGB, rows first
            metas = metas.next
        frames = frames.next
    return Gst.PadProbeReturn.OK
```

The buffer belongs to the meta: copy what outlives the probe. A pipeline of several streams runs
them one after the other (`batch-size=1`).
"""
_PLUGINS = """`{library}` holds the junction and the attention as TensorRT plugins. `nvinfer` opens
it (`custom-lib-path`), `build_engine.sh` preloads it; both must be the TensorRT that it was built
for.

"""


def deepstream_readme(passport: Passport, width: int, height: int, plugins: bool) -> str:
    """The README of a folder for DeepStream.

    Args:
        passport: of the bundle.
        width, height: of the pictures that the network takes, in pixels.
        plugins: the folder holds the plugin library.
    """
    return _TEXT.format(
        title=passport.name,
        input=INPUT,
        output=OUTPUT,
        width=width,
        height=height,
        large_width=width * passport.scale,
        large_height=height * passport.scale,
        plugins=_PLUGINS.format(library=PRELOADED) if plugins else "",
    )
