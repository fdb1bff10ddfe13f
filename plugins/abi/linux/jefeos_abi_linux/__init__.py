"""The Linux x86-64 personality: system calls, structures, signal frames and ELF loading."""
