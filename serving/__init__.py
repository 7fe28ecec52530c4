"""Face identification on Ray Serve: decode, detect, embed, match."""
