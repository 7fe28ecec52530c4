"""The one-machine stack: child processes, which `serving.stack.run` starts and stops."""
