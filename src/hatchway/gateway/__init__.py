"""Who is reached, and how: the Envoy in front of all replicas and our code that configures it."""
