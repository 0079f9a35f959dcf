"""Preparing a labelled data set: its division into ``train/`` and ``test/``."""
