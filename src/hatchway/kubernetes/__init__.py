"""What is known of Kubernetes beside the replicas: the connection to an API server, watches, names, custom resources.

Needs `pip install 'hatchway[kubernetes]'`. Objects are plain dictionaries, as in YAML; those that make them are pure
functions. What may not live here: how replicas are run (`backends/kubernetes`) and what is decided about them.
"""
