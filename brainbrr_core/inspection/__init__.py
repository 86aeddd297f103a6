"""Looking at one recording: its raw and preprocessed signal, its events and its findings.

Reading a single recording for a person to look at, even if it is excluded, and drawing it on a page
or a picture belong here. Judging a recording does not: ``corpus`` reads and judges files,
``signal`` preprocesses them, and ``evaluation`` reports the results of a model.
"""
