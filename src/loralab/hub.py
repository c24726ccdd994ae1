"""Telling a name on the hub from a path on this machine."""

import re
from pathlib import Path

_HUB_ID = re.compile(r"^[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?$")


def is_hub_id(name: str) -> bool:
    """Tell whether `name` has the form of a hub id, 'name' or 'owner/name'; a relative path may have it too."""
    return _HUB_ID.match(name) is not None


def as_path(source: str | Path) -> Path:
    """Return the place that `source` is where it is no hub id."""
    try:
        return Path(source).expanduser()
    except RuntimeError:  # '~somebody' where nobody of that name has a home
        return Path(source)
