"""Scenarios: what to do to a lab, and what must hold."""
