"""The dialects that TensorRT and TensorRT-RTX run fast: FP32, FP16, INT8 and FP8."""
