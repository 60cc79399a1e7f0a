"""Logs as JSON lines, and traces by OpenTelemetry: both by settings, both off unless asked for.

Traces are sampled where a request begins; a caller's `traceparent` decides for its own
(https://www.w3.org/TR/trace-context/). What is sent to vLLM carries one too, so its spans join ours
(`--otlp-traces-endpoint`). Nothing about shoppers is recorded: neither their ids nor what they typed; requests are told
apart by request id.
"""

import importlib
import logging
from typing import Any

from pythonjsonlogger.json import JsonFormatter

from service.contracts.errors import ConfigError
from service.contracts.settings import LogSettings, TraceSettings

_TEXT = "%(asctime)s %(levelname)s %(name)s %(message)s"
_UNTRACED = "healthz,readyz,metrics"


def set_up_logs(settings: LogSettings) -> None:
    """Log to standard error, a line an entry; what a logger gets as `extra` becomes fields of their own."""
    formatter: logging.Formatter = logging.Formatter(_TEXT)
    if settings.format == "json":
        names = {"asctime": "ts", "levelname": "level", "name": "logger"}
        formatter = JsonFormatter(_TEXT, rename_fields=names, datefmt="%Y-%m-%dT%H:%M:%S%z")
    handler = logging.StreamHandler()
    handler.setFormatter(formatter)
    logging.basicConfig(level=settings.level.upper(), handlers=[handler], force=True)
    logging.getLogger("httpx").setLevel(logging.WARNING)


def trace_clients(settings: TraceSettings, name: str) -> None:
    """Let every request by httpx, as process `name`, begin or continue a trace. Without an endpoint: nothing.

    Raises:
        ConfigError: OpenTelemetry is not installed.
    """
    if settings.endpoint is not None:
        _instrumentation("httpx", "HTTPXClientInstrumentor")().instrument(tracer_provider=_provider(settings, name))


def trace_app(settings: TraceSettings, app: Any, name: str) -> None:
    """Let every request to the ASGI `app` begin or continue a trace. Without an endpoint: nothing.

    Raises:
        ConfigError: OpenTelemetry is not installed.
    """
    if settings.endpoint is not None:
        middleware = _instrumentation("asgi", "OpenTelemetryMiddleware")
        from opentelemetry.util.http import parse_excluded_urls  # noqa: PLC0415  (comes with the middleware)

        untraced = parse_excluded_urls(_UNTRACED)
        app.add_middleware(middleware, tracer_provider=_provider(settings, name), excluded_urls=untraced)


def _instrumentation(of: str, name: str) -> Any:
    try:
        return getattr(importlib.import_module(f"opentelemetry.instrumentation.{of}"), name)
    except ImportError as error:
        raise _missing(error) from None


def _missing(error: ImportError) -> ConfigError:
    return ConfigError(f"trace.endpoint is set, but {error.name} is missing: pip install 'aigq[trace]'")


def _provider(settings: TraceSettings, name: str) -> Any:
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415  (an extra)
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415
        from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased  # noqa: PLC0415
    except ImportError as error:
        raise _missing(error) from None
    provider = TracerProvider(
        sampler=ParentBased(TraceIdRatioBased(settings.sample)),
        resource=Resource.create({"service.name": f"aigq-{name}"}),
    )
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=f"{settings.endpoint}/v1/traces")))
    return provider
