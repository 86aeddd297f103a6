"""A trained network on a recording, from the store or straight from an EDF, to events.

Here belongs the way from a run and a recording to events and their files. The steps themselves
belong to ``signal``, ``model`` and ``detection``; scores belong to ``evaluation``.
"""
