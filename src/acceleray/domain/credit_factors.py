"""Names of the latent credit factors that correlations make.

A ``loading_world`` column of the obligors means the same factor as the correlations by segment do.
"""

from __future__ import annotations

__all__ = ["COUNTRY_PREFIX", "SECTOR_PREFIX", "WORLD"]

WORLD = "world"
SECTOR_PREFIX = "sector:"
COUNTRY_PREFIX = "country:"
