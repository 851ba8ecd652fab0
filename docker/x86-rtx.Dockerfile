# PC with a GeForce RTX: TensorRT-RTX from its wheels, CUDA 13.0, Python 3.12.
# Build and run: docker/README.md. Never run on a GPU yet: docs/gpu-status.md.
FROM python:3.12-slim-bookworm AS wheel
WORKDIR /source
COPY pyproject.toml README.md LICENSE ./
COPY acf_edge acf_edge
COPY kernels kernels
COPY calibration calibration
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels .

FROM nvcr.io/nvidia/cuda:13.0.0-base-ubuntu24.04
ARG DEBIAN_FRONTEND=noninteractive
RUN apt-get update \
 && apt-get install -y --no-install-recommends python3-venv \
 && rm -rf /var/lib/apt/lists/*
COPY --from=wheel /wheels /wheels
COPY constraints.txt /wheels/
# Bindings and NVRTC of 13.0: newer ones want a newer driver.
RUN python3 -m venv /opt/acf \
 && /opt/acf/bin/pip install --no-cache-dir -c /wheels/constraints.txt \
      "$(echo /wheels/*.whl)[rtx,web]" tensorrt-rtx-cu13-bindings==1.7.1.116 \
      tensorrt-rtx-cu13-libs==1.7.1.116 \
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
