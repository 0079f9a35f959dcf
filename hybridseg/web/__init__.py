"""Pages for a person: labelling images in the browser, and looking at results beside the truth."""
