# One file, three images: server (no torch), worker, ui. `docker compose build` makes them all.
# What pip brings comes before what is ours, so that a change of ours is built in seconds.
# No RUN --mount and no heredocs, so that the classic builder takes it too.
FROM python:3.11-slim AS base
ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PYTHONSAFEPATH=1
RUN groupadd --system --gid 10001 searchd && useradd --system --uid 10001 --gid searchd --create-home searchd \
 && mkdir /artifacts /page && chown searchd:searchd /artifacts /page
WORKDIR /app
COPY pyproject.toml ./
# `wanted.py EXTRA` prints what the extra needs, `wanted.py` what every part needs.
RUN printf '%s\n' 'import sys, tomllib' 'project = tomllib.load(open("pyproject.toml", "rb"))["project"]' \
      'extras = project["optional-dependencies"]' \
      'print(*(extras[sys.argv[1]] if sys.argv[1:] else project["dependencies"]), sep="\n")' > wanted.py \
 && python wanted.py > wanted.txt && pip install -r wanted.txt

FROM base AS ours
COPY README.md LICENSE ./
COPY spaces spaces
COPY kernels kernels
COPY searchd searchd
COPY workers workers
COPY ui ui
RUN pip wheel --no-deps --wheel-dir /wheel .

FROM base AS server
RUN python wanted.py server > wanted.txt && pip install -r wanted.txt
COPY --from=ours /wheel /wheel
RUN pip install --no-deps /wheel/*.whl
USER searchd
EXPOSE 8700
CMD ["searchd", "serve"]

FROM base AS worker
# torch from the index that you name: the default is a CPU build where the index has one under this version.
ARG TORCH="torch>=2.6"
RUN python wanted.py worker > wanted.txt && pip install "$TORCH" -r wanted.txt
COPY --from=ours /wheel /wheel
RUN pip install --no-deps /wheel/*.whl
USER searchd
CMD ["searchd", "worker", "--device", "cpu", "--slots", "1"]

FROM base AS ui
RUN python wanted.py ui > wanted.txt && pip install -r wanted.txt
COPY --from=ours /wheel /wheel
RUN pip install --no-deps /wheel/*.whl
USER searchd
EXPOSE 8701
CMD ["searchd", "ui", "--host", "0.0.0.0", "--port", "8701"]
