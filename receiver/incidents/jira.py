"""A ticket for each incident that needs a person: opened, followed by comments, closed.

https://developer.atlassian.com/cloud/jira/platform/rest/v2/ (Cloud and Data Center). A ticket is
found again by its label where the answer to its creation was lost.
"""

import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from receiver.incidents.channel import TIMEOUT_S, ChannelError, call
from receiver.incidents.records import Line, Post
from receiver.incidents.view import IncidentView

_SUMMARY_MOST, _TEXT_MOST = 250, 30_000
_DONE = (200, 201, 204)


@dataclass(frozen=True, kw_only=True)
class Jira:
    """`token` reads the API token of `user` for each call; without a user it is a bearer token.

    `done` and `reopen` are the names of statuses, to which a transition must lead.
    """

    client: httpx.Client
    url: str
    user: str
    token: Callable[[], str]
    project: str
    issue_type: str
    done: str
    reopen: str
    name: str = "jira"
    threads: bool = True

    def wants(self, view: IncidentView, post: Post | None) -> bool:
        return post is not None or view.needs_person

    def show(self, view: IncidentView, post: Post) -> str:
        fields = {"summary": view.title[:_SUMMARY_MOST], "description": _text(view)}
        key = post.ref or (self._find(view) if post.unsure else "")
        if not key:
            new = fields | {
                "project": {"key": self.project},
                "issuetype": {"name": self.issue_type},
                "labels": [_label(view)],
            }
            key = str(self._call("POST", "issue", {"fields": new}).get("key", ""))
        else:
            self._call("PUT", f"issue/{key}", {"fields": fields})
        if not key:
            raise ChannelError("answered no key", sent=True)
        self._move(key, self.done if view.over else self.reopen, only_from=view.over)
        return key

    def add_line(self, view: IncidentView, post: Post, line: Line) -> None:
        del view
        self._call("POST", f"issue/{post.ref}/comment", {"body": line.text[:_TEXT_MOST]})

    def _find(self, view: IncidentView) -> str:
        """The key of the incident's ticket; empty where there is none."""
        jql = f'project = "{self.project}" AND labels = "{_label(view)}" ORDER BY created ASC'
        query = {"jql": jql, "fields": ["key"], "maxResults": 1}
        try:
            answer = self._call("POST", "search/jql", query)
        except ChannelError as error:
            if not error.gone:
                raise
            # Data Center.
            answer = self._call("POST", "search", query)
        found = answer.get("issues") or [{}]
        return str(found[0].get("key", ""))

    def _move(self, key: str, status: str, *, only_from: bool) -> None:
        """Move the ticket, unless it stands there. A person's own status stays until it is over."""
        issue = self._call("GET", f"issue/{key}?fields=status", {})
        now = ((issue.get("fields") or {}).get("status") or {}).get("name")
        if now == status or (not only_from and now != self.done):
            return
        listed = self._call("GET", f"issue/{key}/transitions", {}).get("transitions") or []
        fitting = [each for each in listed if (each.get("to") or {}).get("name") == status]
        if not fitting:
            raise ChannelError(f"no transition leads from {now} to {status}", sent=False)
        self._call("POST", f"issue/{key}/transitions", {"transition": {"id": fitting[0]["id"]}})

    def _call(self, method: str, path: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
        secret = self.token()
        login = f"Bearer {secret}"
        if self.user:
            login = f"Basic {base64.b64encode(f'{self.user}:{secret}'.encode()).decode()}"
        request = self.client.build_request(
            method,
            f"{self.url}/rest/api/2/{path}",
            json=body or None,
            headers={"Authorization": login, "Accept": "application/json"},
            timeout=TIMEOUT_S,
        )
        return call(self.client, request, answers=_DONE)


def _text(view: IncidentView) -> str:
    return "\n".join(view.lines())[:_TEXT_MOST]


def _label(view: IncidentView) -> str:
    return f"smartcloudops-{view.id}"
