"""The application: command line, input files, run folders, tables and the Danish economies."""
