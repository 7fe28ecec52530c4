"""The parts of the one-machine stack, each a child process; `serving.stack` puts them together."""
