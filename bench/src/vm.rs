//! Virtual machines: finding QEMU and a guest kernel, and the command lines that start them.
