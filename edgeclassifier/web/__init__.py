"""A page that shows what the camera sees, and the HTTP server for it. Needs the extra "web"."""
