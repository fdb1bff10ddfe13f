"""Scheduling: wait queues, clocks, run queues, the event loop and the executor that runs tasks on the CPU."""
