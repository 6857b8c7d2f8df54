"""The exported winner: a folder that adapts to new images in one call, with the evidence."""
