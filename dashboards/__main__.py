"""Write the JSON files that Grafana reads (`make dashboards`)."""

import json
from collections.abc import Mapping
from pathlib import Path

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from dashboards.operations import operations
from dashboards.service_owners import service_owners

_HERE = Path(__file__).parent


def render_dashboards() -> Mapping[Path, str]:
    """Text by file."""
    boards = {"operations.json": operations(), "service-owners.json": service_owners()}
    return {
        _HERE / name: json.dumps(board.build(), cls=JSONEncoder, indent=2, sort_keys=True) + "\n"
        for name, board in boards.items()
    }


if __name__ == "__main__":
    for path, text in render_dashboards().items():
        path.write_text(text)
