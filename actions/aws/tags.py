"""Tags with a meaning, and tags as labels."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

# Actions change only instances and groups whose tag has the value "true". An account may have a tag
# of its own for it.
OPT_IN_TAG = "smartcloudops:remediate"
# Marks an instance in quarantine, and the snapshots of its disks.
QUARANTINE_TAG = "smartcloudops:quarantined"
GROUP_TAG = "aws:autoscaling:groupName"
# The value "true" marks a group as a critical service.
CRITICAL_TAG = "smartcloudops:critical"


def read_tags(listed: Iterable[Any], opt_in_tag: str) -> dict[str, str]:
    """The tags by key, as AWS lists them; the account's `opt_in_tag` is read as OPT_IN_TAG.

    Where it has its own, OPT_IN_TAG itself means nothing.
    """
    tags: dict[str, str] = {tag["Key"]: tag["Value"] for tag in listed}
    if opt_in_tag != OPT_IN_TAG:
        tags.pop(OPT_IN_TAG, None)
        if opt_in_tag in tags:
            tags[OPT_IN_TAG] = tags[opt_in_tag]
    return tags


def labels_of(tags: Mapping[str, str], **known: str) -> Mapping[str, str]:
    """The tags as labels, named as Prometheus' EC2 service discovery names them.

    `tag_` is put before a tag's key, and characters that a label cannot have become underscores.
    """
    by_tag = {f"tag_{re.sub(r'[^A-Za-z0-9_]', '_', key)}": value for key, value in tags.items()}
    return {name: value for name, value in (by_tag | known).items() if value}
