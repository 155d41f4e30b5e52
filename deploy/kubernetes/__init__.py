"""The same stack on Kubernetes."""
