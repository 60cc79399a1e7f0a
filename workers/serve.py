"""`aigq serve`: run the HTTP service under uvicorn."""

import os
from pathlib import Path
from typing import Annotated

import typer
import uvicorn

from service import telemetry
from service.contracts.settings import CONFIG_VARIABLE, load_settings

app = typer.Typer(help="Run the HTTP service.")


@app.command(epilog="Example: AIGQ_REDIS_URL=redis://cache:6379 aigq serve --config configs/production.toml")
def serve(config: Annotated[Path | None, typer.Option(help="settings file (TOML)")] = None) -> None:
    """Serve until stopped (Ctrl-C or SIGTERM): requests in flight are finished first."""
    settings = load_settings(config)
    if config is not None:
        os.environ[CONFIG_VARIABLE] = str(config)  # the factory reads the same file
    telemetry.set_up_logs(settings.log)
    uvicorn.run(
        "service.app:create_app_to_serve",
        factory=True,
        host=settings.service.host,
        port=settings.service.port,
        access_log=False,
        log_config=None,  # its loggers write as ours do
        proxy_headers=False,  # nobody asks who the client is
        timeout_graceful_shutdown=5,
    )
