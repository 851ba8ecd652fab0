# Jetson Orin with JetPack 6.2 (L4T 36.4): TensorRT 10.3, CUDA 12.6, Python 3.10.
# Build and run: docker/README.md. Never run on a board yet: docs/gpu-status.md.
FROM python:3.12-slim-bookworm AS wheel
WORKDIR /source
COPY pyproject.toml README.md LICENSE ./
COPY acf_edge acf_edge
COPY kernels kernels
COPY calibration calibration
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels .

FROM nvcr.io/nvidia/l4t-tensorrt:r10.3.0-runtime
ARG TENSORRT=10.3.0.30-1+cuda12.5
ARG DEBIAN_FRONTEND=noninteractive
# The board's own packages: TensorRT's Python bindings and libraries of the very same version.
ADD https://repo.download.nvidia.com/jetson/jetson-ota-public.asc /usr/share/keyrings/jetson-ota.asc
RUN chmod 0644 /usr/share/keyrings/jetson-ota.asc \
 && echo "deb [signed-by=/usr/share/keyrings/jetson-ota.asc] https://repo.download.nvidia.com/jetson/common r36.4 main" \
      > /etc/apt/sources.list.d/jetson.list \
 && apt-get update \
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
# NVRTC and CUDA's headers of 12.6: the board's driver loads no newer code.
RUN python3 -m venv --system-site-packages /opt/acf \
 && /opt/acf/bin/pip install --no-cache-dir -c /wheels/constraints.txt \
      "$(echo /wheels/*.whl)[tensorrt,web]" \
      cuda-bindings==12.9.10 nvidia-cuda-nvrtc-cu12==12.6.85 nvidia-cuda-runtime-cu12==12.6.77 \
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
