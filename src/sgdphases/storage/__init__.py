"""Records that training leaves, and the labelled cube."""
