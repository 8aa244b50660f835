"""Cases with known answers, recomputed on the user's installation by the code that the night uses."""
