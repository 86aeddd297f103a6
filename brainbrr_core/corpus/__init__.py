"""Recordings as they lie on disk: layouts, annotations beside them, the index.

Here belongs everything read from a corpus that is not in one EDF, and the decision
whether a recording can be used. What is done to samples belongs to ``signal``, what an
annotation file says to ``annotation``, what is stored to ``cache``.

A new kind of corpus, if it has EDFs with annotations beside them, is one class: a subclass of
``layouts.base.Layout`` that says how its root is recognized (``find``), what the path of an EDF
says about it (``describe``) and what its annotations say (``labelling``);
``layouts.folder.FolderLayout`` is the smallest. Its name is added to ``layouts.known.LAYOUTS`` and
to ``configuration.settings.LayoutName``.
"""
