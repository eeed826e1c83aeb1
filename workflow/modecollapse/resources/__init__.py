"""What jobs ask of a machine: memory, devices, time and disk, computed from models, methods and data."""
