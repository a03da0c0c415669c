"""Why somebody changes something: every call that does must say it."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

# PostgreSQL keeps no NUL in a text.
Text = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=1000, pattern=r"^[^\x00]*$"),
]


class Comment(BaseModel):
    """It goes into the audit with who, from where and when."""

    model_config = ConfigDict(extra="forbid")

    comment: Text = Field(examples=["deploying"])
