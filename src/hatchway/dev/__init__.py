"""`hatchway dev`: APIs of a project in the foreground, each in one replica process, without engine and gateway.

`session.py` runs the whole; `apis.py` reads the project, `process.py` starts replicas, `front.py` answers on a TCP
port, `changes.py` notices what was saved.
"""
