"""Data sets that were not made here: files of the hub or of a directory, read row by row."""
