"""Tags with a meaning, and tags as labels."""

import re
from collections.abc import Mapping

# Actions change only instances and groups whose tag has the value "true".
OPT_IN_TAG = "smartcloudops:remediate"
# Marks an instance in quarantine, and the snapshots of its disks.
QUARANTINE_TAG = "smartcloudops:quarantined"
GROUP_TAG = "aws:autoscaling:groupName"
# The value "true" marks a group as a critical service.
CRITICAL_TAG = "smartcloudops:critical"


def labels_of(tags: Mapping[str, str], **known: str) -> Mapping[str, str]:
    """The tags as labels, named as Prometheus' EC2 service discovery names them.

    `tag_` is put before a tag's key, and characters that a label cannot have become underscores.
    """
    by_tag = {f"tag_{re.sub(r'[^A-Za-z0-9_]', '_', key)}": value for key, value in tags.items()}
    return {name: value for name, value in (by_tag | known).items() if value}
