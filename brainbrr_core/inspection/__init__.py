"""Looking at one recording: its raw and its preprocessed signal, its events and its findings.

Here belongs what a person is shown of a single recording, excluded ones too, and the page and
picture it is drawn to. What decides about a recording does not belong here: ``corpus`` reads and
judges files, ``signal`` shapes them, and the report of a model's results is ``evaluation``'s.
"""
