"""The activator: a process beside Envoy that holds requests while their API has no replica, and wakes it.

Envoy knows it as the endpoint of last resort of every cluster (envoy.py): it gets a request when no replica can.

    terms.py       what Envoy says of the API with each request (pure)
    heads.py       heads of requests and answers, read and rewritten (pure)
    waiting.py     who is held and who must be refused (pure)
    replicas.py    which replicas are ready, from their sockets
    exchange.py    one request: held, then passed on byte by byte
    activator.py   hands held requests to ready replicas
    reports.py     tells the engine, if there is one, what is held

Here is only what runs in that process. It depends on nothing of the engine's and imports little, since it idles in
every home. The engine's side is companion.py, activator_process.py and demand.py, one folder up.
"""
