"""Model families and their work on Ray Tune, Ray Train and Ray Data."""
