"""The Jinja environment of every page: values are escaped, and an unknown name is an error."""

from collections.abc import Callable, Mapping
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined


def html_environment(
    folder: Path, filters: Mapping[str, Callable[..., object]], **variables: object
) -> Environment:
    """Every template of the folder can read `variables`."""
    environment = Environment(
        loader=FileSystemLoader(folder),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= filters
    environment.globals |= variables
    return environment
