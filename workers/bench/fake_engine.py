"""In place of vLLM where the worker alone is measured: answers each prompt at once with ten of the catalogue's queries.

What it writes is no figure of anything; that it costs next to nothing is the point.
"""

import sys
from pathlib import Path
from random import Random
from typing import Any

import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.responses import ORJSONResponse

from service.ranking.catalogue import Catalogue
from workers.common.prompt import PROMPT_TOKENS
from workers.common.vllm_server import MODEL_NAME

_LIST = 10


def make_app(artefacts: Path) -> FastAPI:
    """Return the part of OpenAI's API that a worker asks."""
    catalogue = Catalogue.open(artefacts)
    queries = catalogue.popular.queries
    catalogue.close()
    chance = Random(7)  # noqa: S311  (a workload)
    app = FastAPI()

    def choice(index: int) -> dict[str, Any]:
        text = "\n".join(chance.sample(queries, _LIST))
        return {"index": index, "text": text, "finish_reason": "stop"}

    @app.get("/v1/models")
    async def models() -> dict[str, Any]:
        return {"data": [{"id": MODEL_NAME}]}

    @app.post("/tokenize")
    async def tokenize() -> dict[str, Any]:
        return {"count": len(PROMPT_TOKENS)}

    @app.get("/metrics")
    async def metrics() -> Response:
        return Response('vllm:num_requests_waiting{engine="0"} 0.0\n', media_type="text/plain")

    @app.post("/v1/completions")
    async def completions(request: Request) -> Response:
        prompts = (await request.json())["prompt"]
        choices = [choice(index) for index in range(len(prompts))]
        return ORJSONResponse({"choices": choices, "usage": {"completion_tokens": 4 * _LIST * len(choices)}})

    return app


if __name__ == "__main__":
    uvicorn.run(make_app(Path(sys.argv[1])), host="127.0.0.1", port=int(sys.argv[2]), log_level="error")
