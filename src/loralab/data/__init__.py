"""Labelled texts and documents from the hub, files, folders or the embedded corpus: split alike for every arm."""
