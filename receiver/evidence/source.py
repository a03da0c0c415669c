"""The sources of evidence, labels of the metric that counts failed reads."""

from enum import StrEnum


class Source(StrEnum):
    AWS = "aws"
    PROMETHEUS = "prometheus"
    RECORDS = "records"
