"""What became of a system task of DataArts Factory (DLF)."""

__version__ = "0.1.0"
