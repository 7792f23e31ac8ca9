"""One folder per paper. No study imports another; deleting one leaves the rest working."""
