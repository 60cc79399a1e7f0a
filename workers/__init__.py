"""Everything behind the endpoint: generation, the sample shop, training, evaluation."""
