"""Distributed work on the book: resolve it once, cut scenarios into blocks, revalue them as Ray tasks."""
