"""Traces on their way out: what Envoy and the replicas report becomes OTLP, and goes to where the operator says.

One process does the export for all of them: so a replica needs no exporter and no credentials, Envoy no TLS, and
changing where traces go changes neither. In here: what spans are made of (`spans`, pure), the socket they are
reported to (`collector`), the queue and the sender (`exporter`, `senders`). Without an endpoint nothing of it runs.
"""
