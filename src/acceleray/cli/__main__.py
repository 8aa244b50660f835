"""``python -m acceleray.cli``."""

from acceleray.cli import main

main()
