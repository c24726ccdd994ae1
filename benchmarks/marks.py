"""Where a benchmark's figures stand in a document: between a mark and its end."""

from __future__ import annotations

from pathlib import Path


def put(document: Path, mark: str, text: str) -> None:
    """Put `text` between `<!-- MARK: its script -->` and `<!-- end of MARK -->`. Raises ValueError without the two."""
    whole = document.read_text(encoding="utf-8")
    begin = whole.index("-->", whole.index(f"<!-- {mark}: ")) + len("-->")
    end = whole.index(f"<!-- end of {mark} -->", begin)
    document.write_text(f"{whole[:begin]}\n\n{text}\n\n{whole[end:]}", encoding="utf-8")
