"""Azure Route Server designs, built and measured on one Linux machine."""

__version__ = "0.1.0"
