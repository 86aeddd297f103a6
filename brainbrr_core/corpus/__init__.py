"""Recordings as they lie on disk: layouts, EDF files, content hashes, the index.

Here belongs everything read from a corpus that is not the signal itself, and the decision
whether a recording can be used. What is done to samples belongs to ``signal``, what an
annotation file says to ``annotation``, what is stored to ``cache``.

A new kind of corpus, if it has EDFs with annotations beside them, is one class: a subclass of
``layout.Layout`` that says how its root is recognized (``find``), what the place of an EDF says
about it (``describe``) and what its annotations say (``labelling``); ``folder.FolderLayout`` is
the smallest. Its name is added to ``layouts.LAYOUTS`` and to ``configuration.settings.LayoutName``.
"""
