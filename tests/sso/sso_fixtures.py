"""A service whose people are those of the identity provider."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from tests.api_fixtures import Live, live
from tests.console.console_fixtures import Visitor
from tests.sso.issuer import CLIENT, ISSUER, SECRET, Issuer

ROLES = """
roles:
- {group: sre, role: operator}
- {group: sre-leads, role: admin}
- {group: staff, role: viewer}
- {group: web, role: operator, services: [web-*]}
- {group: other, role: operator, services: [other-asg]}
- {group: asking, role: operator, playbooks: [asking]}
- {group: account, role: operator, accounts: ["111122223333"]}
- {group: asking-leads, role: admin, playbooks: [asking]}
- {group: web-leads, role: admin, services: [web-asg]}
"""


@contextmanager
def live_with(folder: Path, issuer: Issuer, **changed: Any) -> Iterator[Live]:
    roles, secret = folder / "roles.yaml", folder / "client-secret"
    roles.write_text(ROLES)
    secret.write_text(SECRET)
    settings = {
        "oidc_issuer": ISSUER,
        "oidc_client_id": CLIENT,
        "oidc_client_secret_file": secret,
        "oidc_roles": roles,
        "public_url": "https://ops.example/",
        **changed,
    }
    with live(folder, provider=issuer.client(), **settings) as service:
        yield service


def begin(visitor: Visitor, then: str = "/") -> str:
    """Begin a login; the address at the provider."""
    answer = visitor.http.get("/login/oidc", params={"next": then}, follow_redirects=False)
    assert answer.status_code == httpx.codes.SEE_OTHER
    return str(answer.headers["location"])


def log_in(visitor: Visitor, issuer: Issuer, name: str, *groups: str, then: str = "/") -> str:
    """Log in at the provider and come back; the text of the page."""
    back = issuer.authorise(begin(visitor, then), name, [*groups])
    return visitor.get(back).text
