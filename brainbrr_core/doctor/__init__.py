"""What this machine has, which problems that means, and what can be done next at what cost.

Here belongs what follows for a user from the facts of ``machine``, ``cache`` and ``corpus``.
Nothing here changes anything.
"""
