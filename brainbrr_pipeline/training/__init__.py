"""A training in a process of its own: how it is started, and the program that runs there."""
