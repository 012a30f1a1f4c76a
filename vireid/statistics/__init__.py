"""How far numbers of few people can be trusted: formulas on arrays, which know nothing of runs."""
