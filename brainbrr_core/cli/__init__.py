"""The ``brainbrr`` command: arguments in, text or JSON out.

Here belongs nothing that a notebook would want. Heavy imports stand inside the commands, so that
``brainbrr --help`` answers at once.
"""
