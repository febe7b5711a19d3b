"""The application: command line, input files, run folders, tables and the Danish economies."""

__version__ = "0.1.0"
