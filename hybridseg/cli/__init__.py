"""The command line: every command parses its words, makes one call and prints what was written."""
