"""The control plane in a cluster: what is wanted stands in custom resources, replicas are pods.

What may live here: how custom resources become what the controller works on, how its findings go back into them, and
who is wired to whom. The deciding is `controller`'s, as on one machine.
"""
