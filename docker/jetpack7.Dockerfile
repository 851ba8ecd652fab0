# Jetson Thor with JetPack 7 (L4T 38): TensorRT 10.13, CUDA 13.0, Python 3.12. JetPack 7 is an
# ordinary ARM server to containers: CUDA's own image, and packages from the repository it names.
# Build and run: docker/README.md. Never run on a board yet: docs/gpu-status.md.
FROM python:3.12-slim-bookworm AS wheel
WORKDIR /source
COPY pyproject.toml README.md LICENSE ./
COPY acf_edge acf_edge
COPY kernels kernels
COPY calibration calibration
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels .

FROM nvcr.io/nvidia/cuda:13.0.0-base-ubuntu24.04
ARG TENSORRT=10.13.3.9-1+cuda13.0
ARG DEBIAN_FRONTEND=noninteractive
RUN apt-get update \
 && apt-get install -y --no-install-recommends \
      python3-venv \
      libnvinfer10=$TENSORRT libnvinfer-plugin10=$TENSORRT libnvonnxparsers10=$TENSORRT \
      python3-libnvinfer=$TENSORRT \
      python3-gi gir1.2-gstreamer-1.0 gir1.2-gst-plugins-base-1.0 gir1.2-gst-rtsp-server-1.0 \
      gstreamer1.0-plugins-base gstreamer1.0-plugins-good gstreamer1.0-plugins-bad \
      gstreamer1.0-plugins-ugly \
 && rm -rf /var/lib/apt/lists/*
COPY --from=wheel /wheels /wheels
COPY constraints.txt /wheels/
# Bindings and NVRTC of 13.0: newer ones want a newer driver.
RUN python3 -m venv --system-site-packages /opt/acf \
 && /opt/acf/bin/pip install --no-cache-dir -c /wheels/constraints.txt \
      "$(echo /wheels/*.whl)[tensorrt,web]" \
      cuda-bindings==13.0.3 nvidia-cuda-nvrtc==13.0.88 nvidia-cuda-runtime==13.0.96 \
 && rm -rf /wheels

# Compiled kernels and engines; mount a volume to keep them.
ENV PATH=/opt/acf/bin:$PATH XDG_CACHE_HOME=/cache PYTHONUNBUFFERED=1
RUN useradd --create-home --groups video acf && mkdir /cache && chown acf /cache
USER acf
WORKDIR /data
VOLUME /cache
EXPOSE 8080 8554
HEALTHCHECK --interval=10m --timeout=90s --start-period=60s CMD ["acf-edge", "doctor", "--json"]
ENTRYPOINT ["acf-edge"]
CMD ["doctor"]
