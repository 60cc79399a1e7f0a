"""Item-to-text as a job: a model's words for items of which the logs know none."""
