"""Start, attach to, check and stop Spark and Ray."""
