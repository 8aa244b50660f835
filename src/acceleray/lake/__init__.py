"""Delta tables and input files: the one package through which files are written."""
