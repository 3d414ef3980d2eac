"""Measurements to text: formatting only, and last."""
