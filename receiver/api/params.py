"""Parameters of paths and queries, the comment of every changing call, and fields of answers.

The bounds of parameters are checked before any query of the database.
"""

from typing import Annotated

from fastapi import Path, Query
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from actions.place import ACCOUNT, REGION

# A name or an id has no control characters; PostgreSQL cannot store NUL.
_TEXT = r"^[^\x00-\x1f]+$"
RunId = Annotated[
    str, Path(pattern=r"^[0-9A-Za-z]{1,64}$", examples=["01KAR0SZ1PCQSD8SGKXR6D7C9P"])
]
TargetPath = Annotated[str, Path(pattern=_TEXT, max_length=255, examples=["i-0a1b2c3d4e5f60718"])]
PlaybookName = Annotated[str, Path(pattern=r"^[a-z][a-z0-9-]{0,62}$", examples=["high-cpu"])]
CaptureName = Annotated[
    str,
    Path(
        pattern=r"^[0-9A-Za-z-]+\.json$",
        max_length=64,
        examples=["01KAR0SZ1PCQSD8SGKXR6D7C9P-50000-aws.json"],
    ),
]
Name = Annotated[str, Query(pattern=_TEXT, max_length=255)]
# An account's number, and a region.
Account = Annotated[str, StringConstraints(pattern=f"^{ACCOUNT.pattern}$")]
Region = Annotated[str, StringConstraints(pattern=f"^{REGION.pattern}$")]
Limit = Annotated[int, Query(ge=1, le=1000, description="most items in a page")]
Cursor = Annotated[
    str, Query(pattern=_TEXT, max_length=320, description="next_cursor of the previous page")
]
Why = Annotated[
    str,
    Query(min_length=1, max_length=1000, pattern=_TEXT, description="the reason, for the audit"),
]

# PostgreSQL cannot store NUL in a text.
Text = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=1000, pattern=r"^[^\x00]*$"),
]


class Comment(BaseModel):
    """The reason for the change. It is audited with the caller's name, role and address."""

    model_config = ConfigDict(extra="forbid")

    comment: Text = Field(examples=["deploying"])


# Fields that several answers share, with the examples of the API's document.
INSTANCE = "i-0a1b2c3d4e5f60718"
AccountField = Annotated[str | None, Field(examples=["111122223333"])]
RegionField = Annotated[str | None, Field(examples=["eu-west-1"])]
Id = Annotated[str, Field(examples=["01KAR0SZ1PCQSD8SGKXR6D7C9P"])]
Time = Annotated[
    str,
    Field(examples=["2026-11-23T06:39:31.435Z"], json_schema_extra={"format": "date-time"}),
]


class Page(BaseModel):
    next_cursor: str | None = Field(examples=[None])
