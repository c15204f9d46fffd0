"""One function per kind of figure."""
