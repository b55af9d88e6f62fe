"""Install Hatchway in a Kubernetes cluster, upgrade it, look at it, and remove it.

Needs `pip install 'hatchway[kubernetes]'`.
"""
