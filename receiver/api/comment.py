"""The comment that every changing call requires."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

# PostgreSQL cannot store NUL in a text.
Text = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=1000, pattern=r"^[^\x00]*$"),
]


class Comment(BaseModel):
    """The reason for the change. It is audited with the caller's name, role and address."""

    model_config = ConfigDict(extra="forbid")

    comment: Text = Field(examples=["deploying"])
