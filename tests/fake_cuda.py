"""A stand-in of ``cuda.bindings.driver`` whose streams run late and in a hostile order.

What CUDA leaves open is used against the caller: work runs as late as it may,
streams that no event orders run in any order, new memory holds noise, freed
memory is noise again and touching it loses the context. Anything that gives
wrong bytes here may give wrong bytes on a GPU.

    machine = fake_cuda.Machine(order="lazy", seed=0)      # "lazy" | "eager" | "random"
    machine.kernels["twice"] = fake_cuda.FakeKernel((8, 8, 4), run)   # sizes of parameters
    with fake_cuda.installed(machine):                     # cuda.bindings.driver is the machine
        device = open_device()

``run(memory, grid, block, arguments)`` gets the raw bytes of each parameter;
``memory.view(pointer, size)`` is the uint8 array behind a GPU address.
``machine.enqueue(stream_handle, work, label)`` queues ``work(memory)`` on a stream
(what a stand-in of TensorRT does for its engine); it is captured in graphs as well.
``machine.fail(call, name, after=0)`` lets a call fail; ``machine.lose_context(name)``
makes every later call fail with a sticky error.
"""
