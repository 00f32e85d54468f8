# syntax=docker/dockerfile:1
# The operator's image: `docker build -t finetune-operator .`
# `make images` runs the same steps without a container engine.
ARG BASE=debian:bookworm-slim

FROM ${BASE} AS runtime
RUN apt-get update \
 && apt-get install --yes --no-install-recommends python3 \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/cache/ldconfig/* /var/log/*
RUN SOURCE_DATE_EPOCH=0 useradd --uid 10001 --user-group --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin finetune

FROM runtime AS build
ENV VIRTUAL_ENV=/app \
    UV_LINK_MODE=copy \
    UV_PYTHON_DOWNLOADS=never \
    UV_COMPILE_BYTECODE=1 \
    PYC_INVALIDATION_MODE=UNCHECKED_HASH
RUN apt-get update \
 && apt-get install --yes --no-install-recommends python3-venv \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /build
COPY locks/uv.lock locks/build.lock locks/
RUN python3 -m venv tools \
 && tools/bin/python -m pip install --quiet --no-cache-dir --disable-pip-version-check --require-hashes -r locks/uv.lock -r locks/build.lock \
 && python3 -m venv --without-pip /app
COPY locks/operator.lock locks/
RUN --mount=type=cache,target=/root/.cache/uv \
    tools/bin/uv pip install --quiet --require-hashes -r locks/operator.lock
COPY pyproject.toml README.md ./
COPY operator operator
COPY trainer_image/finetune_trainer trainer_image/finetune_trainer
RUN tools/bin/hatchling build --target wheel --directory dist \
 && tools/bin/python -m pip --python /app/bin/python install --quiet --disable-pip-version-check --no-compile --no-index --no-deps --find-links dist finetune-operator \
 && /app/bin/python -m compileall -q --invalidation-mode unchecked-hash /app/lib/python3*/site-packages/finetune_*

FROM runtime
LABEL org.opencontainers.image.title="finetune-operator" \
      org.opencontainers.image.description="Runs FineTuneJobs on Kubernetes" \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.licenses="Apache-2.0"
ENV PATH=/app/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1
COPY --from=build /app /app
USER 10001:10001
WORKDIR /
EXPOSE 8080
ENTRYPOINT ["finetune-operator"]
