# syntax=docker/dockerfile:1
# Two images: `service` (the HTTP endpoint) and `worker` (Direct, Think, artefacts). Neither holds torch or vLLM:
# they talk to a vLLM server over HTTP.
#   docker build --target service -t aigq-service .
#   docker build --target worker -t aigq-worker .
ARG PYTHON_IMAGE=python:3.11.14-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/aigq
WORKDIR /src
# Dependencies first, on an empty package: a change of code then reuses this layer.
COPY pyproject.toml constraints.txt README.md LICENSE ./
RUN mkdir service workers
RUN --mount=type=cache,target=/root/.cache/pip /opt/aigq/bin/pip install -c constraints.txt .

FROM build AS build-service
COPY service service
COPY workers workers
RUN /opt/aigq/bin/pip install --no-deps --force-reinstall .

FROM build AS build-worker
RUN --mount=type=cache,target=/root/.cache/pip /opt/aigq/bin/pip install -c constraints.txt '.[data,rank]'
COPY service service
COPY workers workers
RUN /opt/aigq/bin/pip install --no-deps --force-reinstall .

FROM ${PYTHON_IMAGE} AS runtime
RUN useradd --system --uid 10001 --no-create-home --shell /usr/sbin/nologin aigq \
 && install -d -o aigq -g aigq /app/var/artefacts /app/var/lessons /app/var/logs
ENV PATH=/opt/aigq/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    AIGQ_SERVICE_HOST=0.0.0.0 \
    AIGQ_SERVICE_ARTEFACTS=/app/var/artefacts
WORKDIR /app
ENTRYPOINT ["aigq"]

FROM runtime AS service
COPY --from=build-service /opt/aigq /opt/aigq
USER 10001
EXPOSE 8000
# Liveness only: the service answers with hints while Redis and vLLM are away.
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s --retries=3 \
  CMD ["python", "-c", "import os, urllib.request; urllib.request.urlopen('http://127.0.0.1:' + os.environ.get('AIGQ_SERVICE_PORT', '8000') + '/healthz', timeout=2)"]
CMD ["serve"]

FROM runtime AS worker
COPY --from=build-worker /opt/aigq /opt/aigq
USER 10001
CMD ["direct"]
