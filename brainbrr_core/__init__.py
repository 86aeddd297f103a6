"""From clinical EEG recordings to a scored seizure detector: the library.

One package per concern; each uses only those below it (``pyproject.toml`` holds
the contract that import-linter checks):

- ``cli``            the ``brainbrr`` command
- ``benchmark``      the store against the way it replaces
- ``evaluation``     a trained model's scores on a split, and the report
- ``prediction``     a trained network on a recording, to events and their files
- ``training``       pre-flight, the training loop, checkpoints
- ``runs``           what a training leaves behind: its record, weights, threshold
- ``detection``      from a network and a recording to events
- ``scoring``        events against events: SzCORE and NEDC rules
- ``model``          the Bi-Mamba-2 network
- ``data``           windows of the cache as torch tensors
- ``cache``          the store: shards, versions, plan, build, manifest
- ``synthesis``      TUSZ-like corpora with known seizures
- ``corpus``         recordings on disk: layouts, the index
- ``edf``            EDF files: headers, time stamps, signals in µV
- ``signal``         montage and signal chain, on arrays
- ``annotation``     events and the files they are written in
- ``configuration``  the one configuration model
- ``files``          writing whole files, their checksums and states
- ``display``        colors, times and the look that pages and pictures share
- ``constants``      numbers and names that several packages agree on

Nothing here imports Dagster: ``brainbrr_pipeline`` does, and calls this.
"""
