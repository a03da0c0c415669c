"""Fields that several answers of the API share, with the examples of its document."""

from typing import Annotated

from pydantic import BaseModel, Field

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
