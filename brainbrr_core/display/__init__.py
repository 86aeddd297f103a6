"""What all pages and pictures have in common: colors, times of a recording, the look of a page.

What a page or a picture shows belongs to the package that makes it: ``inspection`` draws one
recording, ``evaluation.report`` the results of a model.
"""
