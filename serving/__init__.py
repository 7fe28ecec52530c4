"""Face identification on Ray Serve: decode, detect, embed, match."""

__version__ = "0.1.0"
