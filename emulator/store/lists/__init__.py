"""Lists of rows that a caller filters, sorts and pages: typed conditions in, rows out."""
