"""The base of everything that is read from or written to a file."""

from pydantic import BaseModel, ConfigDict


class Settings(BaseModel):
    """Immutable, and strict about unknown names: a misspelt setting is an error, never a silent default.

    Numbers are finite: JSON has no way to write others.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
