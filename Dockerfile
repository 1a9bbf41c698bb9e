# Two images from one tree: `api` (no torch; also runs migrate and beat) and `engine` (units and serve).
#   docker build --target api -t spindle-api . && docker build --target engine -t spindle-engine .
# The engine's torch comes with CUDA; with PyTorch's index of CPU wheels as --build-arg PIP_EXTRA_INDEX_URL it does not.
ARG PYTHON=3.11.15-slim-bookworm

FROM python:${PYTHON} AS api-packages
WORKDIR /build
RUN python -m venv /venv
COPY pyproject.toml constraints.txt README.md LICENSE ./
# No code is here yet, so this layer lasts until a dependency changes; the code is found by PYTHONPATH.
RUN --mount=type=cache,target=/root/.cache/pip /venv/bin/pip install -c constraints.txt '.[api]'

FROM api-packages AS engine-packages
ARG PIP_EXTRA_INDEX_URL=
RUN --mount=type=cache,target=/root/.cache/pip /venv/bin/pip install -c constraints.txt '.[worker]'

FROM python:${PYTHON} AS runtime
# hadolint ignore=DL3008  # Debian's archive keeps only the newest build of a package
RUN apt-get update \
    && apt-get install -y --no-install-recommends tini \
    && rm -rf /var/lib/apt/lists/* \
    && groupadd --gid 10001 spindle \
    && useradd --uid 10001 --gid 10001 --home-dir /state --no-create-home spindle \
    && install -d -o spindle -g spindle /state
ENV PATH=/venv/bin:$PATH \
    PYTHONPATH=/app \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    OMP_WAIT_POLICY=PASSIVE \
    HOME=/state \
    SPINDLE_STATE=/state
WORKDIR /app
COPY . .
USER 10001
ENTRYPOINT ["tini", "--"]

FROM runtime AS engine
LABEL org.opencontainers.image.title="spindle-engine" org.opencontainers.image.licenses="Apache-2.0"
ENV NVIDIA_DRIVER_CAPABILITIES=compute,utility
COPY --from=engine-packages /venv /venv
# A worker that no longer hears its queue ends by itself, and is started again.
HEALTHCHECK NONE
CMD ["python", "-m", "worker", "units"]

FROM runtime AS api
LABEL org.opencontainers.image.title="spindle-api" org.opencontainers.image.licenses="Apache-2.0"
COPY --from=api-packages /venv /venv
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s \
    CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8000/livez', timeout=4)"]
CMD ["python", "-m", "uvicorn", "api.main:app", "--host", "0.0.0.0", "--port", "8000", "--no-access-log"]
