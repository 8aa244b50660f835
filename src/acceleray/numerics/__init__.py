"""Arrays in, arrays out: pricing, simulation, tail measures, credit losses, backtests, drift."""
