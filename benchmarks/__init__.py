"""Measurements that take longer than a test, run by hand: ``python -m benchmarks.NAME``."""
