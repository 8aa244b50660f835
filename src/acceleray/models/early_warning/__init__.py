"""The early-warning model: how likely a position breaches its tail threshold in the next 20 sessions."""
