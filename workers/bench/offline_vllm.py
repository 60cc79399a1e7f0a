"""vLLM's own engine in a process of its own: a JSON list of prompts a line in, seconds and tokens a line out.

The only module that imports vllm. It is the most that the engine gives on these prompts: no HTTP, no parsing.
"""

import os
import sys
import time

import orjson

from service.contracts.settings import VllmSettings
from workers.common.vllm_server import ENGINE


def main(model: str) -> None:
    """Load `model`, say so with an empty object, then answer until the input ends."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb", buffering=0)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # the engine writes to stdout as it likes
    from vllm import LLM, SamplingParams, TokensPrompt  # noqa: PLC0415  (after stdout is out of its reach)

    llm = LLM(model=model, disable_log_stats=True, **ENGINE)
    tokenizer = llm.get_tokenizer()
    settings = VllmSettings()
    sampling = SamplingParams(
        temperature=settings.temperature,
        max_tokens=settings.max_tokens,
        presence_penalty=settings.presence_penalty,
        frequency_penalty=settings.frequency_penalty,
    )
    answers.write(b"{}\n")
    for line in sys.stdin.buffer:
        prompts = orjson.loads(line)
        start = time.perf_counter()
        tokens = [tokenizer.encode(prompt, add_special_tokens=False) for prompt in prompts]
        done = llm.generate([TokensPrompt(prompt_token_ids=ids) for ids in tokens], sampling, use_tqdm=False)
        seconds = time.perf_counter() - start
        written = sum(len(one.outputs[0].token_ids) for one in done)
        answers.write(
            orjson.dumps({"seconds": seconds, "prompt_tokens": sum(map(len, tokens)), "tokens": written}) + b"\n"
        )


if __name__ == "__main__":
    main(sys.argv[1])
