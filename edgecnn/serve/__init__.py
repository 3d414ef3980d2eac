"""A classifier over HTTP, in two processes: one talks (never numpy), one decodes and runs (never the network)."""
