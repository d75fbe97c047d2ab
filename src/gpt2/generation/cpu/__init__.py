"""The pass compiled for the CPU; read in this order: instructions, step, weights, runner."""
