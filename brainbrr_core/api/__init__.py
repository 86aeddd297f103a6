"""What a script needs of brainbrr: the store as arrays, and the signal chain for any EEG.

These names are also those of ``brainbrr_core`` itself, such as ``brainbrr_core.open_store``. They
stay as they are from one release to the next.
"""
