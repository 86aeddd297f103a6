"""Corpora on disk: layouts, the recordings in them, and the index.

Reading a corpus, beyond what is in a single EDF, and deciding whether a recording can be used
belong here. Processing samples belongs to ``signal``, the formats of annotation files to
``annotation``, and stored signals to ``cache``.

To support another layout of EDFs with annotations, subclass ``layouts.base.Layout``: ``find``
recognizes the root of a corpus, ``describe`` interprets the path of an EDF, and ``read_labels``
reads its annotations. ``layouts.folder.FolderLayout`` is the smallest. Add the name to
``layouts.known.LAYOUTS`` and to ``configuration.settings.LayoutName``.
"""
