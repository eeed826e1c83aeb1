"""What jobs ask of a machine (memory, devices, time and disk, from models, methods and data), and how they get it."""
