"""Statistics for small numbers of identities and seeds: formulas on arrays, independent of runs."""
