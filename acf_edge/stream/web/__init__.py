"""A page for the browser: the running stream in a split view, with its figures and buttons."""
