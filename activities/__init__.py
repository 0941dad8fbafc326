"""One step that touches the world each. Depends on domain ports only; the concretes are injected by the worker."""
