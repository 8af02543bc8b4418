"""What `make docs` adds to docs/*.md: pages generated from the code, links out of docs/."""
