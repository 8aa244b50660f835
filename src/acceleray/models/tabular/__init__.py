"""Models of any table of numbers and categories: families, search, distributed training, scoring."""
