"""ARM without a board: this project's device code under qemu-user, with instructions counted in place of time.

    cpus        which CPUs can be asked for, and what is expected of each
    cache       where what is made once is kept
    root        a small ARM system, made of Debian packages and wheels
    plugin      the counter that QEMU loads, made by the system's compiler
    emulator    starts processes on the emulated CPU, and on this machine to compare with
    device      what runs in those processes
    together    runs them side by side
    verdict     what two answers to the same images say about a file
    bench       .tflite files on an emulated CPU, as a Session
    operations  instructions of each operation of a file

QEMU runs the same instructions as the CPU would, in whatever time it takes: their number says something, the time
nothing, and none is shown.
"""
