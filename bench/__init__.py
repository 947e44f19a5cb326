"""What it costs and how long people wait, measured on real processes from the sockets a real client holds."""
