"""The store against the way it replaces, the network against the floor of the machine.

Here belong measurements for ``brainbrr bench``. Nothing else may import this package.
"""
