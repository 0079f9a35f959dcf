"""From photos and masks to models, label maps and a report in words: the commands, one after the other."""
