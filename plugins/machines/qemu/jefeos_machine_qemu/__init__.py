"""A machine of which only the CPU is ours: buses, devices and wires are QEMU's.

    machine.py   QemuMachine: the Machine that drivers see          region.py   registers
    process.py   the command line, and how QEMU ends                disks.py    images as drives
    qtest.py     commands and answers, interrupts in between        qmp.py      link state, unplugging, quitting
    watch.py     who wants to hear of which socket                  wire.py     frames between a card and a Port
"""
