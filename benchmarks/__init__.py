"""Speed and memory, side by side with the usual way."""
