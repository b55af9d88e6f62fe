"""What runs in a gateway's pod beside Envoy and the activator, which are programs of their own.

    agent.py     answers the operator that leads: what this Envoy has, does and did
    files.py     what Envoy is started with
    drain.py     the end of a gateway: load balancers let go of it, then its requests end
    serving.py   the agent's two ports

It depends on no operator: Envoy, the activator and what one tells the other go on while there is none.
"""
