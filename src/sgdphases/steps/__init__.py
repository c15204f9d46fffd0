"""One short program per rule: parse, read, join, write."""
