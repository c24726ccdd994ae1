"""Rows from the hub, a folder, or the embedded corpus: read, split and sampled the same way for every arm."""
