"""`smartcloudops test`."""
