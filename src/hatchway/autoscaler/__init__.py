"""How many replicas an API should have, by the requests it has. Pure: figures, memory and time come in."""
