"""Manifests for Kubernetes and the image."""
