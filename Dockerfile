# The lake as an image: Dagster's webserver, its daemon, the code location and each run are containers of it.
#
# The base is named by tag here. Who publishes an image pins what the tag means today, and says so in a label:
#   base=$(docker buildx imagetools inspect python:3.13-slim-bookworm --format '{{.Manifest.Digest}}')
#   docker build --build-arg PYTHON_IMAGE=python:3.13-slim-bookworm@$base .
# The publishing workflow does both. The image has no secrets: ECS gives them to the tasks when these start.
ARG PYTHON_IMAGE=python:3.13-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
WORKDIR /src
COPY pyproject.toml constraints.txt dagster.yaml README.md LICENSE ./
COPY datalake_assets ./datalake_assets
ENV PIP_CONSTRAINT=/src/constraints.txt PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
# `hybrid` for Dagster+, whose agent keeps what Dagster knows of its runs.
ARG EXTRA=deploy
RUN python -m venv /opt/lake && /opt/lake/bin/pip install ".[${EXTRA}]"

FROM ${PYTHON_IMAGE}
ARG PYTHON_IMAGE
LABEL org.opencontainers.image.title="datalake-assets" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.base.name="${PYTHON_IMAGE}"
RUN useradd --system --uid 10001 --no-create-home --shell /usr/sbin/nologin lake \
    && install -d -o lake /opt/dagster
COPY --from=build /opt/lake /opt/lake
COPY deploy/dagster.yaml deploy/workspace.yaml /opt/dagster/
ENV PATH=/opt/lake/bin:$PATH DAGSTER_HOME=/opt/dagster PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
WORKDIR /opt/dagster
USER 10001
EXPOSE 3000 4000
# The code location, which Dagster+ starts too; the task definitions of the others name their own command.
CMD ["dagster", "code-server", "start", "-h", "0.0.0.0", "-p", "4000", "-m", "datalake_assets.definitions", "-a", "defs"]
