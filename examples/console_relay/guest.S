/* The demo's guest: a whole machine in one boot sector. It prints a greeting on
 * its serial port, then gives back what is typed there.
 *
 *   Ctrl-G  prints the greeting again: QEMU drops what a guest prints until it
 *           has noticed that someone opened the pty (it looks once a second),
 *           while what is typed waits in the pty, so asking always works.
 *   Ctrl-D  says goodbye and switches the machine off.
 *   Enter   (CR) comes back as CR LF, anything else as it is.
 *
 * It goes straight into the program's read-only data as 512 bytes named
 * avirt_demo_guest, by `c++ -c guest.S`: no linker script, no objcopy, no image.
 * The BIOS will run it at 0x7c00, which the linker must not know about, hence
 * AT(): a distance plus a constant, which leaves nothing to relocate.
 */

#define AT(label) (label - avirt_demo_guest + 0x7c00)

#define COM1      0x3f8
#define RBR_THR   (COM1 + 0) /* receive and transmit; divisor, low byte */
#define IER       (COM1 + 1) /* interrupt enable; divisor, high byte */
#define LCR       (COM1 + 3)
#define MCR       (COM1 + 4)
#define LSR       (COM1 + 5)
#define LSR_READY 0x01       /* a byte was received */
#define LSR_THRE  0x20       /* a byte can be sent */
#define LSR_TEMT  0x40       /* everything was sent */

#define PIC_COMMAND 0x20
#define PIC_MASK    0x21
#define PIC_EOI     0x20
#define IRQ4_VECTOR 0x0c     /* where the BIOS put the PIC's line 4, COM1 */

        .section .rodata
        .globl  avirt_demo_guest
        .type   avirt_demo_guest, @object
        .code16
avirt_demo_guest:
        /* A BIOS may start us as 07c0:0000 and promises no stack. */
        ljmp    $0, $AT(main)
main:
        cli
        cld
        xorw    %ax, %ax
        movw    %ax, %ds
        movw    %ax, %es
        movw    %ax, %ss
        movw    $0x7c00, %sp

        movw    $AT(on_serial), IRQ4_VECTOR * 4
        movw    %ax, IRQ4_VECTOR * 4 + 2

        /* Only line 4 may wake us. The timer's 18 ticks a second would be most
         * of what an idle guest costs its host. */
        movb    $~(1 << 4), %al
        outb    %al, $PIC_MASK

        /* 115200 8N1. The FIFO stays off: switching it on clears the receiver,
         * and with it whatever was typed while the BIOS was still busy. Without
         * it nothing is lost, for QEMU takes a byte from the pty only when the
         * last one has been read. */
        movw    $LCR, %dx
        movb    $0x80, %al              /* show the divisor */
        outb    %al, %dx
        movw    $RBR_THR, %dx
        movb    $1, %al
        outb    %al, %dx
        movw    $IER, %dx
        xorb    %al, %al
        outb    %al, %dx
        movw    $LCR, %dx
        movb    $0x03, %al
        outb    %al, %dx

        movw    $AT(greeting), %si
        call    print

        movw    $MCR, %dx
        movb    $0x0b, %al              /* DTR, RTS, and OUT2: it gates the IRQ line */
        outb    %al, %dx
        movw    $IER, %dx
        movb    $0x01, %al              /* on received data; raises the line at once if there is some */
        outb    %al, %dx

        sti
idle:   hlt
        jmp     idle

/* The PIC latches edges, so the line must have been low before the next byte
 * can be noticed: read until there is nothing left, and only then end the
 * interrupt. A byte that arrives in between makes a new edge, which waits. */
on_serial:
        movw    $LSR, %dx
        inb     %dx, %al
        testb   $LSR_READY, %al
        jz      1f
        movw    $RBR_THR, %dx
        inb     %dx, %al
        call    receive
        jmp     on_serial
1:      movb    $PIC_EOI, %al
        outb    %al, $PIC_COMMAND
        iret                            /* to the hlt, the only code we interrupt: no registers to keep */

receive:
        cmpb    $0x04, %al
        je      power_off
        movw    $AT(greeting), %si
        cmpb    $0x07, %al
        je      print
        cmpb    $'\r', %al
        jne     put
        movw    $AT(newline), %si
        /* fall through */

print:                                  /* the string at %si, up to its 0 */
        lodsb
        testb   %al, %al
        jz      1f
        call    put
        jmp     print
1:      ret

put:                                    /* %al */
        movb    %al, %ah
        movb    $LSR_THRE, %bl
        call    wait_for
        movw    $RBR_THR, %dx
        movb    %ah, %al
        outb    %al, %dx
        ret

wait_for:                               /* one of the LSR bits %bl */
        movw    $LSR, %dx
1:      inb     %dx, %al
        testb   %bl, %al
        jz      1b
        ret

power_off:
        movw    $AT(farewell), %si
        call    print
        movb    $LSR_TEMT, %bl          /* what is still in the UART dies with the machine */
        call    wait_for

        /* What is still in the pty dies with QEMU: leave the reader five ticks
         * of the timer, a quarter of a second. */
        movb    $PIC_EOI, %al
        outb    %al, $PIC_COMMAND
        movb    $~(1 << 0), %al
        outb    %al, $PIC_MASK
        sti
        movw    $5, %cx
1:      hlt
        loop    1b

        movw    $0x2000, %ax            /* ACPI soft off: SLP_EN, sleep type 0 */
        movw    $0x604, %dx             /* where QEMU's pc has it */
        outw    %ax, %dx
        movw    $0xb004, %dx            /* and where it had it before 2.0 */
        outw    %ax, %dx
1:      hlt
        jmp     1b

greeting:
        .asciz  "avirt demo guest: type, and it comes back\r\n"
farewell:
        .ascii  "bye"
newline:
        .asciz  "\r\n"

        .org    avirt_demo_guest + 510
        .byte   0x55, 0xaa
        .size   avirt_demo_guest, . - avirt_demo_guest

        .section .note.GNU-stack, "", @progbits
