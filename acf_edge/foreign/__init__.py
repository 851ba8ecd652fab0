"""Networks of others: read safely with spandrel, recorded while they run, written as ONNX."""
