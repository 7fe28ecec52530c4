"""The parts of the one-machine stack, each a child process; `serving.stack.run` puts them together."""
