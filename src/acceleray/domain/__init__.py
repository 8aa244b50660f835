"""Value types and table contracts: what the parts of the system say to each other."""
