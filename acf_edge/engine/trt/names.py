"""The names of TensorRT that we use, with their types.

``api.module`` is a :class:`Module`: so mypy checks every call, although the module is found at
run time and may be TensorRT 10, TensorRT 11 or TensorRT-RTX. The types are those of the package
tensorrt-stubs (10.13), mended by ``tests/mend_stubs.py``; without it everything here is ``Any``.
What is not in every version is named in :mod:`acf_edge.engine.trt.api` alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import tensorrt as trt


class Module(Protocol):
    """``tensorrt`` or ``tensorrt_rtx``: what all of 10.3 to 11.x and RTX have."""

    __version__: str

    if TYPE_CHECKING:
        # Building
        Builder: type[trt.Builder]
        BuilderFlag: type[trt.BuilderFlag]
        DeviceType: type[trt.DeviceType]
        HardwareCompatibilityLevel: type[trt.HardwareCompatibilityLevel]
        IBuilderConfig: type[trt.IBuilderConfig]
        INetworkDefinition: type[trt.INetworkDefinition]
        IOptimizationProfile: type[trt.IOptimizationProfile]
        IProgressMonitor: type[trt.IProgressMonitor]
        ITimingCache: type[trt.ITimingCache]
        MemoryPoolType: type[trt.MemoryPoolType]
        NetworkDefinitionCreationFlag: type[trt.NetworkDefinitionCreationFlag]
        OnnxParser: type[trt.OnnxParser]
        OnnxParserFlag: type[trt.OnnxParserFlag]
        ProfilingVerbosity: type[trt.ProfilingVerbosity]

        # Running
        EngineInspector: type[trt.EngineInspector]
        ExecutionContextAllocationStrategy: type[trt.ExecutionContextAllocationStrategy]
        ICudaEngine: type[trt.ICudaEngine]
        IExecutionContext: type[trt.IExecutionContext]
        IProfiler: type[trt.IProfiler]
        LayerInformationFormat: type[trt.LayerInformationFormat]
        Runtime: type[trt.Runtime]
        TensorIOMode: type[trt.TensorIOMode]
        TensorLocation: type[trt.TensorLocation]

        # Both
        DataType: type[trt.DataType]
        Dims: type[trt.Dims]
        IHostMemory: type[trt.IHostMemory]
        ILogger: type[trt.ILogger]
        Logger: type[trt.Logger]
        TensorFormat: type[trt.TensorFormat]

        # Plugins
        DimensionOperation: type[trt.DimensionOperation]
        DimsExprs: type[trt.DimsExprs]
        IPluginCreatorV3One: type[trt.IPluginCreatorV3One]
        IPluginV3: type[trt.IPluginV3]
        IPluginV3OneBuild: type[trt.IPluginV3OneBuild]
        IPluginV3OneCore: type[trt.IPluginV3OneCore]
        IPluginV3OneRuntime: type[trt.IPluginV3OneRuntime]
        PluginCapabilityType: type[trt.PluginCapabilityType]
        PluginField: type[trt.PluginField]
        PluginFieldCollection: type[trt.PluginFieldCollection]
        PluginFieldCollection_: type[trt.PluginFieldCollection_]
        PluginFieldType: type[trt.PluginFieldType]
        TensorRTPhase: type[trt.TensorRTPhase]

        def get_plugin_registry(self) -> trt.IPluginRegistry:
            """The one registry of the process."""

        def get_nv_onnx_parser_version(self) -> int:
            """Version of the ONNX parser."""

    # TensorRT-RTX alone; asked for only behind ``Features.sms``.
    ComputeCapability: Any
