//! Kubernetes-style YAML and JSON to and from the model.
