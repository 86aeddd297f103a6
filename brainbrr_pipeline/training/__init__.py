"""Training in a separate process: launching it, and the program that runs there."""
