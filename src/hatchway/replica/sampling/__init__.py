"""What a replica tells of the payloads it gets and the answers it gives: looked at, kept for a second, handed over.

`look.py` takes the fields out of one value, `pack.py` makes columns of many, `redact.py` leaves out what may not
leave, `sampler.py` keeps the values in between and sends them to whoever listens on the control socket.
"""
