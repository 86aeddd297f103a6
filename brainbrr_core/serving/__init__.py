"""What ``brainbrr ui`` runs beside Dagster: a server of the runs folder, and the end of it all.

- ``folder_server``  a folder over http, read-only
- ``announcement``   who serves for a DAGSTER_HOME, and at which addresses
- ``processes``      starting a program, and ending it with everything that it started
"""
