"""What several workers share: datasets, prompts, the vLLM client, list parsing, artefacts."""
