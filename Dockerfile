# Three images from one tree: `api` (no torch; also migrate and beat), `worker` (units) and `serve` (draws).
#   make images ACCELERATOR=cpu        # or by hand:
#   docker build --target worker --build-arg ACCELERATOR=cpu --build-arg PIP_EXTRA_INDEX_URL=URL -t spindle-worker .
# docs/container-images.md tells of every argument, secret and context.
ARG PYTHON=3.11.15-slim-bookworm
# With a digest that you have verified: BASE=docker.io/library/python@sha256:...
ARG BASE=docker.io/library/python:${PYTHON}

# Folders that a build may bring, --build-context wheels=FOLDER and debs=FOLDER; they are empty otherwise.
FROM scratch AS wheels
FROM scratch AS debs

FROM ${BASE} AS tools
# The secret `pip` is a pip.conf and `ca` a bundle of certificates that it names: a build's own, never in an image.
ENV PIP_CONSTRAINT=/build/constraints.txt \
    PIP_BUILD_CONSTRAINT=/build/constraints.txt \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_FIND_LINKS=/wheels \
    PIP_ROOT_USER_ACTION=ignore
ARG PIP_EXTRA_INDEX_URL=
WORKDIR /build
COPY constraints.txt ./
RUN --mount=type=cache,target=/root/.cache/pip \
    --mount=type=bind,from=wheels,target=/wheels \
    --mount=type=secret,id=pip,target=/etc/pip.conf \
    --mount=type=secret,id=ca \
    python -m venv /tools \
    && /tools/bin/pip install cyclonedx-bom

FROM tools AS api-packages
COPY pyproject.toml LICENSE ./
# No code is here yet, and no README, so this layer lasts until a dependency changes; the code is found by PYTHONPATH.
RUN --mount=type=cache,target=/root/.cache/pip \
    --mount=type=bind,from=wheels,target=/wheels \
    --mount=type=secret,id=pip,target=/etc/pip.conf \
    --mount=type=secret,id=ca \
    touch README.md \
    && python -m venv --without-pip /venv \
    && /tools/bin/pip --python /venv/bin/python install '.[api]'

FROM api-packages AS worker-packages
# More of pyproject.toml's extras, with commas between: worker,eightbit,s3
ARG WORKER_EXTRAS=worker
RUN --mount=type=cache,target=/root/.cache/pip \
    --mount=type=bind,from=wheels,target=/wheels \
    --mount=type=secret,id=pip,target=/etc/pip.conf \
    --mount=type=secret,id=ca \
    /tools/bin/pip --python /venv/bin/python install ".[${WORKER_EXTRAS}]"

FROM ${BASE} AS system
SHELL ["/bin/sh", "-eu", "-c"]
# Modules are compiled here, once: the root is read-only later, and each start would compile what it imports again.
# hadolint ignore=DL3008  # Debian's archive keeps only the newest build of a package
RUN --mount=type=bind,from=debs,target=/debs \
    if ls /debs/*.deb 2>/dev/null; then dpkg --install /debs/*.deb; \
    else apt-get update && apt-get install -y --no-install-recommends tini; fi; \
    rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/log/apt /var/log/dpkg.log; \
    groupadd --gid 10001 spindle; \
    useradd --uid 10001 --gid 10001 --home-dir /state --no-create-home spindle; \
    install -d -o spindle -g spindle /state; \
    python -m compileall -q -j 0 -x '/(test|tests|idlelib|lib2to3|site-packages|dist-packages)/' \
        "$(python -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')"

FROM system AS code
COPY . /app
RUN python -m compileall -q --invalidation-mode unchecked-hash /app

# The contents are written down from the very environment of the image, which must hold the torch that was asked for.
# A bind mount of /venv would do, but buildah 1.28 does not find a stage again that it took from its cache.
FROM api-packages AS api-contents
COPY --from=system /var/lib/dpkg/status /system/status
COPY --from=code /app/deploy/images /app/deploy/images
RUN /venv/bin/python /app/deploy/images/contents.py --accelerator none \
    && /tools/bin/cyclonedx-py environment --output-reproducible --output-file /python.json /venv/bin/python \
    && python /app/deploy/images/sbom.py /python.json /system /sbom/spindle.cdx.json

FROM worker-packages AS worker-contents
ARG ACCELERATOR=cuda
COPY --from=system /var/lib/dpkg/status /system/status
COPY --from=code /app/deploy/images /app/deploy/images
RUN /venv/bin/python /app/deploy/images/contents.py --accelerator "${ACCELERATOR}" \
    && /tools/bin/cyclonedx-py environment --output-reproducible --output-file /python.json /venv/bin/python \
    && python /app/deploy/images/sbom.py /python.json /system /sbom/spindle.cdx.json

FROM system AS runtime
ENV PATH=/venv/bin:$PATH \
    PYTHONPATH=/app \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    OMP_WAIT_POLICY=PASSIVE \
    HOME=/state \
    SPINDLE_STATE=/state \
    SPINDLE_METRICS_PORT=9464
WORKDIR /app
USER 10001
ENTRYPOINT ["tini", "--"]
# It asks what process 1 runs: the api on its port, a worker on SPINDLE_METRICS_PORT; anything else lives while it runs.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 CMD ["python", "/app/deploy/images/alive.py"]

FROM runtime AS worker
ENV NVIDIA_DRIVER_CAPABILITIES=compute,utility
COPY --from=worker-packages /venv /venv
COPY --from=worker-contents /sbom /usr/share/sbom
COPY --from=code /app /app
CMD ["python", "-m", "worker", "units"]
# Last, so that another revision is another label and not another environment.
ARG BASE
ARG VERSION=unknown
ARG REVISION=unknown
ARG SOURCE=
ARG ACCELERATOR=cuda
LABEL org.opencontainers.image.title="spindle-worker" \
      org.opencontainers.image.description="Runs Spindle's work units: encodes, draws, trains, measures, publishes." \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.source="${SOURCE}" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.base.name="${BASE}" \
      org.spindle.accelerator="${ACCELERATOR}"

FROM worker AS serve
CMD ["python", "-m", "worker", "serve"]
LABEL org.opencontainers.image.title="spindle-serve" \
      org.opencontainers.image.description="Draws the pictures that are asked for through Spindle's API."

FROM runtime AS api
COPY --from=api-packages /venv /venv
COPY --from=api-contents /sbom /usr/share/sbom
COPY --from=code /app /app
EXPOSE 8000
CMD ["python", "-m", "api", "--host", "0.0.0.0", "--port", "8000"]
ARG BASE
ARG VERSION=unknown
ARG REVISION=unknown
ARG SOURCE=
LABEL org.opencontainers.image.title="spindle-api" \
      org.opencontainers.image.description="Spindle's REST API and dashboard, its migration and its beat; no torch." \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.source="${SOURCE}" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.base.name="${BASE}" \
      org.spindle.accelerator="none"
