"""Facts to view to page; no arithmetic on risk happens here."""
