"""Reports of runs as pages in HTML."""
