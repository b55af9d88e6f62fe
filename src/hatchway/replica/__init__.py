"""Inside a replica: a separate process that knows only the contract."""
