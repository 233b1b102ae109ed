"""Pictures worth keeping: which they are, and the folder that bounds them."""
