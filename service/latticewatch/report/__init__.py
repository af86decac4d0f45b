"""A session as one page to read and to print: figures, tables, methods."""
