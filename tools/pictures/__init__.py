"""The pictures of README and the documentation, drawn from the repository's own data.

python -m tools.pictures               # make pictures: write docs/pictures/*.svg again
"""
