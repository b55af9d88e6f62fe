"""Making what is wanted and what is observed agree."""
