"""The description of a route's answers in the OpenAPI document."""

from typing import Any


def answers(model: type, description: str, status: int = 200) -> dict[int | str, dict[str, Any]]:
    """The `responses` of a route that answers with this model."""
    return {status: {"model": model, "description": description}}
