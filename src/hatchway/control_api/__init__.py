"""The control plane's HTTP API, the one way in for the CLI, the dashboard and the clients."""
