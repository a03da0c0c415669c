"""`smartcloudops iam-policy`: the permissions of the service's role, and of roles in accounts."""
