"""From clinical EEG recordings to a scored seizure detector: the library.

One package or module per concern; each imports only those below it (import-linter
checks this by the contract in ``pyproject.toml``):

- ``cli``            the ``brainbrr`` command
- ``doctor``         checks of this machine, and what to do next
- ``benchmark``      speed of the store next to brain-go-brr v2, and of the network
- ``evaluation``     scores of a trained model on a split, and the report
- ``prediction``     running a trained network on recordings and writing the events
- ``training``       pre-flight, the training loop, checkpoints
- ``detection``      from network output on a recording to events
- ``runs``           folders of finished trainings: record, weights, threshold
- ``scoring``        comparing events with reference events: SzCORE and NEDC rules
- ``model``          the Bi-Mamba-2 network
- ``data``           windows of the cache as torch tensors
- ``transfer``       copying a cache between machines, verified
- ``cache``          the store: shards, versions, plan, build, manifest
- ``inspection``     reading and drawing a single recording
- ``synthesis``      TUSZ-like corpora with known seizures
- ``corpus``         recordings on disk: layouts, the index
- ``edf``            EDF files: headers, time stamps, signals in µV
- ``signal``         montage and signal chain, on arrays
- ``annotation``     events and the files they are written in
- ``configuration``  the configuration model
- ``remote``         addresses of buckets and network shares, access to them, retries
- ``files``          atomic writes, checksums and file states
- ``progress``       progress of long-running work
- ``errors``         errors that a user can fix
- ``machine``        file systems, disks, processors, memory, GPUs
- ``display``        colors, times and styles shared by pages and pictures
- ``constants``      numbers and names that several packages share
- ``locking``        locks between processes and machines

Nothing here imports Dagster; ``brainbrr_pipeline`` does, and calls this library.
"""
