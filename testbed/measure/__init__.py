"""Probes, and the pure analysis of what they saw."""
