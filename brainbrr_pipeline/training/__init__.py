"""Training in a separate process: how it is started, and the program that runs there."""
