"""Labelled texts and documents from the hub, files, folders or the embedded corpus: split alike for every arm."""

from loralab.data.documents import CorpusData, Documents
from loralab.data.rows import LabelledData, Rows

AnyRows = Rows | Documents  # of one split
AnyData = LabelledData | CorpusData  # of all

__all__ = ["AnyData", "AnyRows", "CorpusData", "Documents", "LabelledData", "Rows"]
