"""Calls the API of a running service, with the token of SMARTCLOUDOPS_TOKEN_FILE."""

from typing import Any

import httpx

from receiver.cli.errors import BadInputError, FailedError
from receiver.settings import Settings

_TIMEOUT_S = 30.0


def get_items(
    settings: Settings, path: str, *, most: int | None = None, **asked: Any
) -> list[dict[str, Any]]:
    """The items of a list, at most so many. Raises BadInputError and FailedError."""
    items: list[dict[str, Any]] = []
    cursor: str | None = ""
    params = {name: value for name, value in asked.items() if value is not None}
    with _connect(settings) as http:
        while cursor is not None and (most is None or len(items) < most):
            page = _call(
                http, "GET", path, params={**params, "cursor": cursor} if cursor else params
            )
            items += page["items"]
            cursor = page["next_cursor"]
    return items[:most]


def get(settings: Settings, path: str, *, ill: bool = False) -> dict[str, Any]:
    """One object, where `ill` also that of an error. Raises BadInputError and FailedError."""
    with _connect(settings) as http:
        return _call(http, "GET", path, ill=ill)


def post(settings: Settings, path: str, body: dict[str, Any]) -> dict[str, Any]:
    """The answer to a changing call. Raises BadInputError and FailedError."""
    with _connect(settings) as http:
        return _call(http, "POST", path, json=body)


def _connect(settings: Settings) -> httpx.Client:
    if settings.url is None or settings.token_file is None:
        raise BadInputError("set SMARTCLOUDOPS_URL and SMARTCLOUDOPS_TOKEN_FILE")
    try:
        token = settings.token_file.read_text().strip()
    except OSError as error:
        raise BadInputError(f"{settings.token_file}: {error.strerror}") from None
    return httpx.Client(
        base_url=str(settings.url),
        headers={"Authorization": f"Bearer {token}"},
        trust_env=False,
        timeout=_TIMEOUT_S,
    )


def _call(
    http: httpx.Client, method: str, path: str, *, ill: bool = False, **sent: Any
) -> dict[str, Any]:
    try:
        answer = http.request(method, path, **sent)
        body = answer.json()
    except (httpx.HTTPError, ValueError) as error:
        raise FailedError(f"{http.base_url} does not answer: {type(error).__name__}") from None
    if answer.is_error and not ill:
        raise FailedError(f"{http.base_url} answers {answer.status_code}: {body.get('detail')}")
    return dict(body)
