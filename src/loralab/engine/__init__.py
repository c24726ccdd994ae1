"""What makes the loop fast, out of sight of methods, tasks and report."""
