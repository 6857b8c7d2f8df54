"""One member of one's own for each of five rooms of metasearch."""
