"""A trained network on a recording, from the store or straight from an EDF, to events.

Here belongs the way from a run and a recording, or samples that still arrive, to events and their
files. The steps themselves belong to ``signal``, ``model`` and ``detection``, what the formats of
events look like to ``annotation``; scores belong to ``evaluation``.
"""
