"""`smartcloudops rules`: the alert rules, for a shop's own scrape interval and job."""
