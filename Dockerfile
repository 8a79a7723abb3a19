# One file, three images: server (no torch), worker, ui. `docker compose build` makes them all.
# No RUN --mount and no heredocs, so that the classic builder takes it too.
FROM python:3.11-slim AS base
ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PYTHONSAFEPATH=1
RUN groupadd --system --gid 10001 searchd && useradd --system --uid 10001 --gid searchd --create-home searchd \
 && mkdir /artifacts && chown searchd:searchd /artifacts
WORKDIR /app
COPY pyproject.toml README.md LICENSE ./
COPY spaces spaces
COPY searchd searchd

FROM base AS server
COPY kernels kernels
COPY workers workers
COPY ui ui
RUN pip install '.[server]'
USER searchd
EXPOSE 8700
CMD ["searchd", "serve"]

FROM base AS worker
# torch from the index that you name: the default is a CPU build where the index has one under this version.
ARG TORCH="torch>=2.6"
COPY kernels kernels
COPY workers workers
COPY ui ui
RUN pip install "$TORCH" && pip install '.[worker]'
USER searchd
CMD ["searchd", "worker", "--device", "cpu", "--slots", "1"]

FROM base AS ui
COPY kernels kernels
COPY workers workers
COPY ui ui
RUN pip install '.[ui]'
USER searchd
EXPOSE 8701
CMD ["searchd", "ui", "--host", "0.0.0.0", "--port", "8701"]
