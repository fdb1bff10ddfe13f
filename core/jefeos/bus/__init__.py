"""Buses: how drivers reach hardware, and the simulated hardware that is there without any.

    driver  --registers-->  Region     a window of ports or memory-mapped registers      bus/region.py
            --DMA-------->  DmaHeap    physical memory that the device can reach         bus/dma.py
            <--interrupt--  InterruptController                                          bus/interrupts.py
            --finds------>  PciDevice  configuration space, BARs, capabilities           bus/pci.py
            --is bound by-  DeviceManager, and gets a DeviceContext                      bus/driver.py

All of it stands on a `Machine` (bus/machine.py), of which there are two: the simulated one (bus/simulated.py), whose
devices are Python models that driver plugins ship, and QEMU's (plugins/machines/qemu). A driver sees no difference.
"""
