//! The nano guest: a virtual machine without an operating system. A PVH guest (Xen's "PVH boot protocol":
//! 32-bit protected mode, flat segments, paging off, `ebx` = start info) of a few instructions that speaks
//! the payload's language on COM1, by polling, without one interrupt: `READY <nonce>`, `ping NONCE`,
//! `loop N` (N below 2^32), `exit`.
//!
//! The nonce is the word after `-- ` on the kernel command line. `loop N` runs N times `dec; jnz`: work
//! of a known size, by which the host judges whether instructions run natively, and then says `OK loop N`.
//! `exit` answers `OK exit` and makes the processor fault thrice, which resets the machine; a virtual
//! machine monitor told not to reboot ends.
#![no_std]
#![no_main]
// The whole file is assembly and none of it is called from Rust: there is nothing to be unsafe towards.
#![allow(unsafe_code)]

use core::arch::global_asm;

// The note by which QEMU (load_elfboot) recognises a PVH guest: XEN_ELFNOTE_PHYS32_ENTRY = 18.
global_asm!(".section .note.Xen, \"a\", @note", ".long 4, 4, 18", ".asciz \"Xen\"", ".long _start",);

global_asm!(
    ".code32",
    ".section .text",
    ".globl _start",
    "_start:",
    "cld",
    "mov esp, offset stack_top",
    // Find "-- " in the command line (hvm_start_info: cmdline_paddr, 64 bits, at offset 24).
    "mov esi, [ebx + 24]",
    "mov edi, offset no_nonce",
    "test esi, esi",
    "jz ready",
    "search:",
    "mov eax, [esi]",
    "test al, al",
    "jz ready",
    "inc esi",
    "and eax, 0x00ffffff",
    "cmp eax, 0x00202d2d",
    "jne search",
    "lea edi, [esi + 2]",
    // READY and the nonce, which edi leads to.
    "ready:",
    "mov esi, offset word_ready",
    "call put_text",
    "mov esi, edi",
    "call put_word",
    "call put_end",
    // One command after another: a line into the buffer, then its first word decides.
    "next:",
    "call get_line",
    "mov esi, offset line",
    "mov eax, [esi]",
    "cmp eax, 0x74697865", // "exit"
    "je leave",
    "cmp byte ptr [esi + 4], 32",
    "jne unknown",
    "cmp eax, 0x676e6970", // "ping"
    "je ping",
    "cmp eax, 0x706f6f6c", // "loop"
    "je loops",
    "unknown:",
    "mov esi, offset word_unknown",
    "call put_text",
    "jmp next",
    "ping:",
    "mov esi, offset word_pong",
    "call put_text",
    "mov esi, offset line + 5",
    "call put_word",
    "call put_end",
    "jmp next",
    // loop N: the number, then N times two instructions.
    "loops:",
    "xor ecx, ecx",
    "lea esi, [esi + 5]",
    "digit:",
    "movzx eax, byte ptr [esi]",
    "inc esi",
    "sub eax, 48",
    "cmp eax, 9",
    "ja counted",
    "imul ecx, ecx, 10",
    "add ecx, eax",
    "jmp digit",
    "counted:",
    "test ecx, ecx",
    "jz looped",
    ".balign 32",
    "again:",
    "dec ecx",
    "jnz again",
    "looped:",
    "mov esi, offset word_loop",
    "call put_text",
    "mov esi, offset line + 5",
    "call put_word",
    "call put_end",
    "jmp next",
    "leave:",
    "mov esi, offset word_exit",
    "call put_text",
    // Nothing can be handled with a table of no entries: a triple fault.
    "lidt [no_table]",
    "int3",
    "halt:",
    "hlt",
    "jmp halt",
    // Writes the string at esi up to its null.
    "put_text:",
    "mov bl, 0",
    "jmp put",
    // Writes the string at esi up to the first blank or control character.
    "put_word:",
    "mov bl, 32",
    "put:",
    "lodsb",
    "cmp al, bl",
    "jbe put_done",
    "call put_byte",
    "jmp put",
    "put_done:",
    "ret",
    "put_end:",
    "mov al, 10",
    // Writes al once the transmitter is empty (line status, bit 5).
    "put_byte:",
    "mov ah, al",
    "mov edx, 0x3fd",
    "wait_empty:",
    "in al, dx",
    "test al, 32",
    "jz wait_empty",
    "mov al, ah",
    "mov edx, 0x3f8",
    "out dx, al",
    "ret",
    // Reads a line (line status, bit 0) into the buffer, which ends with a null; what does not fit is lost.
    "get_line:",
    "mov edi, offset line",
    "get_byte:",
    "mov edx, 0x3fd",
    "in al, dx",
    "test al, 1",
    "jz get_byte",
    "mov edx, 0x3f8",
    "in al, dx",
    "cmp al, 10",
    "je got_line",
    "cmp edi, offset line_end",
    "jae get_byte",
    "stosb",
    "jmp get_byte",
    "got_line:",
    "mov byte ptr [edi], 0",
    "ret",
    ".section .rodata",
    "word_ready: .asciz \"READY \"",
    "word_pong: .asciz \"PONG \"",
    "word_loop: .asciz \"OK loop \"",
    "word_exit: .asciz \"OK exit\\n\"",
    "word_unknown: .asciz \"ERR - unknown command\\n\"",
    "no_nonce: .asciz \"-\"",
    "no_table: .word 0",
    ".long 0",
    ".section .bss, \"aw\", @nobits",
    ".balign 16",
    "line: .skip 128",
    "line_end: .skip 16",
    ".skip 256",
    "stack_top:",
    ".text",
    ".code64",
);

/// Never reached: no Rust code runs here, but the language wants the item.
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
