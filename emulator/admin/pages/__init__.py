"""The pages of the admin centre, one module each: what a page shows, as plain values for its template."""
