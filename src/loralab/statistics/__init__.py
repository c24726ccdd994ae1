"""What the data can carry: how sure a difference is, and what may be said of it. No torch, no model, no file."""
