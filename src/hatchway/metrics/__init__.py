"""What APIs did and used: counts that never go backwards, the last hour step by step, and both for Prometheus."""
