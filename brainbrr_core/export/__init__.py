"""A trained network leaves its run: as a model folder, as graphs, and to other addresses.

A model folder has the layout of a model hub: ``config.json``, ``model.safetensors`` and a card,
``README.md``. How it is read belongs to ``runs``.
"""
