"""What shmctl, semctl and msgctl say of all System V objects together: IPC_INFO, SHM_INFO, SEM_INFO and MSG_INFO.

These are how ipcs(1) finds its way where there is no /proc/sysvipc: the answer of an INFO command is the highest slot
in use, and the STAT commands of each kind take a slot instead of an identifier. Structures: struct shminfo,
shm_info, seminfo and msginfo of the kernel's headers; limits are Linux's defaults.
"""

from __future__ import annotations

import struct
from typing import Any, Final

from jefeos_abi_linux import ipc
from jefeos_abi_linux.ipc import IpcTable, IpcTables

PAGE_BYTES: Final = 4096
SEMAPHORES_TOTAL: Final = ipc.SETS_LIMIT * ipc.SEMAPHORES_LIMIT
OPERATIONS_LIMIT: Final = 500
UNDO_BYTES: Final = 20
SEGMENT_OF_POOL_BYTES: Final = 16
POOL_SEGMENTS: Final = 0xFFFF

_SHMINFO: Final = struct.Struct("<QQQQQ4Q")
_SHM_INFO: Final = struct.Struct("<i4xQQQQQ")
_SEMINFO: Final = struct.Struct("<10i")
_MSGINFO: Final = struct.Struct("<7iH2x")


def highest_slot(table: IpcTable[Any]) -> int:
    """What the INFO commands return; 0 also where nothing is there."""
    return max(table.by_slot, default=0)


def segment_limits() -> bytes:
    """IPC_INFO of shmctl."""
    limit = ipc.SEGMENT_LIMIT_BYTES
    return _SHMINFO.pack(limit, 1, ipc.SEGMENTS_LIMIT, ipc.SEGMENTS_LIMIT, limit, 0, 0, 0, 0)


def segment_use(tables: IpcTables) -> bytes:
    """SHM_INFO. Segments are in memory, none is ever swapped out."""
    segments = tables.segments.by_slot.values()
    pages = sum(ipc.rounded(segment.size) for segment in segments) // PAGE_BYTES
    resident = sum(segment.mapping.resident for segment in segments)
    return _SHM_INFO.pack(len(segments), pages, resident, 0, 0, 0)


def semaphore_info(tables: IpcTables, *, used: bool) -> bytes:
    """IPC_INFO of semctl; SEM_INFO has in two of its fields what is in use."""
    sets = tables.sets.by_slot.values()
    return _SEMINFO.pack(
        SEMAPHORES_TOTAL,
        ipc.SETS_LIMIT,
        SEMAPHORES_TOTAL,
        SEMAPHORES_TOTAL,
        ipc.SEMAPHORES_LIMIT,
        OPERATIONS_LIMIT,
        OPERATIONS_LIMIT,
        len(sets) if used else UNDO_BYTES,
        ipc.SEMAPHORE_MAX,
        sum(len(found.values) for found in sets) if used else ipc.SEMAPHORE_MAX,
    )


def queue_info(tables: IpcTables, *, used: bool) -> bytes:
    """IPC_INFO of msgctl; MSG_INFO has in three of its fields what is in use."""
    queues = tables.queues.by_slot.values()
    pool, messages, bytes_used = ipc.QUEUES_LIMIT * ipc.QUEUE_BYTES // 1024, ipc.QUEUE_BYTES, ipc.QUEUE_BYTES
    if used:
        pool = len(queues)
        messages = sum(len(queue.messages) for queue in queues)
        bytes_used = sum(queue.bytes_used for queue in queues)
    return _MSGINFO.pack(
        pool,
        messages,
        ipc.MESSAGE_LIMIT_BYTES,
        ipc.QUEUE_BYTES,
        ipc.QUEUES_LIMIT,
        SEGMENT_OF_POOL_BYTES,
        bytes_used,
        POOL_SEGMENTS,
    )
