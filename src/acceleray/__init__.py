"""Overnight portfolio risk and scoring: Spark for trusted data, Ray for fast decisions."""

__version__ = "0.1.0"
