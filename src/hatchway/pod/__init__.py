"""What runs in a pod: what prepares it for its replica, and what then becomes the replica.

It runs on the Python of the replicas' image, with the standard library and `hatchway.installing` alone: whatever is
imported here delays every start of a replica. What the operator tells it is `order.Order`.
"""
