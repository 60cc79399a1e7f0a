"""The offline evaluation: how often the next searches are foreseen, by our lists and by tuned baselines."""
