"""A search for better settings: many trainings of one cache, each with settings that are drawn.

What may be searched, which settings come next and when a training is given up belong here. Each
trial is an ordinary run, which ``training`` makes.
"""
