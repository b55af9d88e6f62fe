"""What the user wants. Pure: no clock, no sockets, no processes, no database."""
