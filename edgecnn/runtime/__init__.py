"""Device-safe half: standard library, numpy, pillow and one inference engine; never torch."""
