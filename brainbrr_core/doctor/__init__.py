"""What this machine has, where it will hurt, and what can be done next with what it costs.

Here belongs what follows for a user from the facts of ``machine``, ``cache`` and ``corpus``.
Nothing here changes anything.
"""
