"""Coverage-guided fuzzing, by scripts/fuzz; not a part of the test run."""
