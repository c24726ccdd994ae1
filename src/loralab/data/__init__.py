"""Labelled texts from the hub, files, folders or the embedded corpus: read, split and sampled alike for every arm."""
