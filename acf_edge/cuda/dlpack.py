"""DLPack's capsules, made and taken apart by ctypes.

A capsule named ``dltensor`` owns a DLManagedTensor. Who takes it renames it to
``used_dltensor`` and calls the tensor's deleter once; a capsule that nobody
took calls it itself when it dies.
"""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np

CUDA, CUDA_MANAGED = 2, 13
_NAME, _USED = b"dltensor", b"used_dltensor"
_KINDS = {"i": 0, "u": 1, "f": 2, "c": 5, "b": 6}


class _Device(ctypes.Structure):
    _fields_ = (("kind", ctypes.c_int32), ("ordinal", ctypes.c_int32))


class _Type(ctypes.Structure):
    _fields_ = (("code", ctypes.c_uint8), ("bits", ctypes.c_uint8), ("lanes", ctypes.c_uint16))


class _Tensor(ctypes.Structure):
    _fields_ = (
        ("data", ctypes.c_void_p),
        ("device", _Device),
        ("ndim", ctypes.c_int32),
        ("type", _Type),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    )


class _Managed(ctypes.Structure):
    pass


_Deleter = ctypes.CFUNCTYPE(None, ctypes.POINTER(_Managed))
_Managed._fields_ = (("tensor", _Tensor), ("context", ctypes.c_void_p), ("deleter", _Deleter))

_Destructor = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
# A table of our own: ctypes.pythonapi is shared, and whoever sets its types last wins.
_python = ctypes.PyDLL(None)
_new = _python.PyCapsule_New
_new.restype, _new.argtypes = ctypes.py_object, [ctypes.c_void_p, ctypes.c_char_p, _Destructor]
_is_valid = _python.PyCapsule_IsValid
_is_valid.restype, _is_valid.argtypes = ctypes.c_int, [ctypes.c_void_p, ctypes.c_char_p]
_pointer = _python.PyCapsule_GetPointer
_pointer.restype, _pointer.argtypes = ctypes.c_void_p, [ctypes.c_void_p, ctypes.c_char_p]
_rename = _python.PyCapsule_SetName
_rename.restype, _rename.argtypes = ctypes.c_int, [ctypes.c_void_p, ctypes.c_char_p]

# The one reference that C holds on what has to live until the consumer lets go.
_hold, _drop = _python.Py_IncRef, _python.Py_DecRef
_hold.restype, _hold.argtypes = None, [ctypes.py_object]
_drop.restype, _drop.argtypes = None, [ctypes.c_void_p]


def _let_go(managed: Any) -> None:
    _drop(managed.contents.context)


def _capsule_dies(capsule: int) -> None:
    if _is_valid(capsule, _NAME):  # nobody took it
        _let_go(ctypes.cast(_pointer(capsule, _NAME), ctypes.POINTER(_Managed)))


_delete = _Deleter(_let_go)
_destroy = _Destructor(_capsule_dies)


def wrap(
    owner: object, pointer: int, shape: tuple[int, ...], dtype: np.dtype[Any], device: int
) -> object:
    """A capsule of C-contiguous memory on GPU ``device``; keeps ``owner`` alive.

    Raises:
        BufferError: DLPack has no such dtype.
    """
    if dtype.kind not in _KINDS or not dtype.isnative:
        raise BufferError(f"DLPack does not carry {dtype}")
    extents = (ctypes.c_int64 * max(1, len(shape)))(*shape)
    steps = (ctypes.c_int64 * max(1, len(shape)))()
    step = 1
    for axis in reversed(range(len(shape))):
        steps[axis] = step
        step *= shape[axis]
    managed = _Managed()
    managed.tensor = _Tensor(
        pointer or None,
        _Device(CUDA, device),
        len(shape),
        _Type(_KINDS[dtype.kind], dtype.itemsize * 8, 1),
        extents,
        steps,
        0,
    )
    managed.deleter = _delete
    held = (owner, managed, extents, steps)
    managed.context = id(held)
    _hold(held)
    return _new(ctypes.addressof(managed), _NAME, _destroy)


class Taken:
    """What a capsule held. The memory lives as long as this object.

    Attributes:
        pointer: address of the first element.
        shape: extents.
        strides: in elements, or None: C-contiguous.
        dtype: NumPy dtype.
    """

    def __init__(self, managed: Any) -> None:
        self._managed = managed
        tensor = managed.contents.tensor
        self.shape = tuple(tensor.shape[axis] for axis in range(tensor.ndim))
        self.strides: tuple[int, ...] | None = None
        if tensor.strides:
            self.strides = tuple(tensor.strides[axis] for axis in range(tensor.ndim))
        self.pointer = int(tensor.data or 0) + int(tensor.byte_offset)
        kinds = {code: kind for kind, code in _KINDS.items()}
        code, bits, lanes = tensor.type.code, tensor.type.bits, tensor.type.lanes
        if code not in kinds or bits % 8 or lanes != 1:
            raise ValueError(f"NumPy has no type for DLPack's {code} of {bits} bits x {lanes}")
        # NumPy's letter for a truth value has no size.
        self.dtype = np.dtype(bool) if kinds[code] == "b" else np.dtype(f"{kinds[code]}{bits // 8}")

    def __del__(self) -> None:
        managed, self._managed = self._managed, None
        if managed is not None and managed.contents.deleter:
            managed.contents.deleter(managed)


def unwrap(capsule: object) -> Taken:
    """Take what an unversioned capsule holds.

    Raises:
        ValueError: no such capsule, taken already, or of a dtype that NumPy lacks.
    """
    address = id(capsule)  # of a live object: CPython's id is its address
    if not _is_valid(address, _NAME):
        raise ValueError("not a fresh DLPack capsule")
    managed = ctypes.cast(_pointer(address, _NAME), ctypes.POINTER(_Managed))
    _rename(address, _USED)
    return Taken(managed)
