"""The store against the way it replaces and against the floor of the machine, in one run.

Here belong measurements for ``brainbrr bench``. Nothing else may import this package.
"""
