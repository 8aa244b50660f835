"""Every settings model, and how acceleray.yaml becomes one frozen value."""
