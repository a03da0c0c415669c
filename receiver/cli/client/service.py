"""Calls the API of a running service, with the token of SMARTCLOUDOPS_TOKEN_FILE."""

from typing import Any

import httpx

from receiver.cli.errors import BadInputError, FailedError
from receiver.settings import Settings

_TIMEOUT_S = 30.0


def get_items(settings: Settings, path: str) -> list[dict[str, Any]]:
    """All items of a list. Raises BadInputError and FailedError."""
    if settings.url is None or settings.token_file is None:
        raise BadInputError("set SMARTCLOUDOPS_URL and SMARTCLOUDOPS_TOKEN_FILE")
    try:
        token = settings.token_file.read_text().strip()
    except OSError as error:
        raise BadInputError(f"{settings.token_file}: {error.strerror}") from None
    items: list[dict[str, Any]] = []
    cursor: str | None = ""
    with httpx.Client(
        base_url=str(settings.url),
        headers={"Authorization": f"Bearer {token}"},
        trust_env=False,
        timeout=_TIMEOUT_S,
    ) as http:
        while cursor is not None:
            page = _get(http, path, {"cursor": cursor} if cursor else {})
            items += page["items"]
            cursor = page["next_cursor"]
    return items


def _get(http: httpx.Client, path: str, params: dict[str, str]) -> dict[str, Any]:
    try:
        answer = http.get(path, params=params)
        page = answer.json()
    except (httpx.HTTPError, ValueError) as error:
        raise FailedError(f"{http.base_url} does not answer: {type(error).__name__}") from None
    if answer.is_error:
        raise FailedError(f"{http.base_url} answers {answer.status_code}: {page.get('detail')}")
    return dict(page)
