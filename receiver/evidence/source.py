"""The sources of evidence, for the metric that counts which of them did not answer."""

from enum import StrEnum


class Source(StrEnum):
    AWS = "aws"
    PROMETHEUS = "prometheus"
    RECORDS = "records"
