"""Replicas as pods of a cluster: `KubernetesBackend` and the modules it is made of.

What may live here: how a revision becomes a Deployment, and what its pods say. What may not: how many replicas there
should be, and what the gateway does with them.
"""
