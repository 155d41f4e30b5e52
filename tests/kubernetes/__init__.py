"""`make prove-kubernetes`: the overlay `small` in a cluster, while pods are replaced and killed."""
