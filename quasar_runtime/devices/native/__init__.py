"""The C engine: sources, and the extension module `_engine` that cffi builds from them."""
