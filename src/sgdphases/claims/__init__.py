"""What each paper says, as data, and the verdict."""
