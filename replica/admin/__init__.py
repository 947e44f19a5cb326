"""What an operator asks of a node, running or stopped, and how it is shown."""
