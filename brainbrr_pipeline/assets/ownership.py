"""Who to ask about an asset, as the UI shows it."""

OWNERS = ["team:eeg"]
