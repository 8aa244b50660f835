"""Point-in-time panels: what was known on each session.

The alignment itself lives with the domain, because `Market` is built from it and domain stands below.
"""

from acceleray.domain.alignment import as_of_align

__all__ = ["as_of_align"]
