"""The internet protocols of JefeOS: see README.md for what there is, `stack` for how it hangs together."""
