"""The one-machine stack: child processes, which `serving.stack.run` puts together."""
