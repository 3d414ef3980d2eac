"""Device-safe half: scores, intervals and comparisons; numbers only, never printing."""
