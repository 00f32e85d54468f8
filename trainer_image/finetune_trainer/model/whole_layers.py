"""Every rank computes every layer."""

from typing import Any


def whole_layers(config: Any) -> Any:
    """No layer is left out by chance: each rank would leave out another, and wait for gradients
    that the others do not have."""
    if hasattr(config, "layerdrop"):
        config.layerdrop = 0.0
    return config
