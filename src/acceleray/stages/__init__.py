"""The eight stages. Each reads named tables at known versions, computes, and commits named tables."""
