/* A guest that prints numbered lines on its serial port for as long as it
 * runs. Every line has 64 bytes, including CR LF:
 *
 *   flood 00000000 abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstu
 *
 * so that a reader can tell from any point on whether something was lost. The
 * numbers start at 0, but QEMU drops the output until it has noticed a reader.
 *
 * 512 bytes named avirt_flood_guest, made like examples/console_relay/guest.S.
 */

#define AT(label) (label - avirt_flood_guest + 0x7c00)

#define COM1      0x3f8
#define THR       (COM1 + 0) /* transmit; divisor, low byte */
#define IER       (COM1 + 1) /* interrupt enable; divisor, high byte */
#define FCR       (COM1 + 2)
#define LCR       (COM1 + 3)
#define LSR       (COM1 + 5)
#define LSR_THRE  0x20       /* the transmit FIFO is empty */
#define FIFO_SIZE 16

        .section .rodata
        .globl  avirt_flood_guest
        .type   avirt_flood_guest, @object
        .code16
avirt_flood_guest:
        /* A BIOS may start this code at 07c0:0000, and guarantees no stack. */
        ljmp    $0, $AT(main)
main:
        cli                             /* for good: everything here is polled */
        cld
        xorw    %ax, %ax
        movw    %ax, %ds
        movw    %ax, %ss
        movw    $0x7c00, %sp

        movw    $LCR, %dx
        movb    $0x80, %al              /* access the divisor: 115200 8N1 */
        outb    %al, %dx
        movw    $THR, %dx
        movb    $1, %al
        outb    %al, %dx
        movw    $IER, %dx
        xorb    %al, %al
        outb    %al, %dx
        movw    $LCR, %dx
        movb    $0x03, %al
        outb    %al, %dx
        movw    $FCR, %dx
        movb    $0x07, %al
        outb    %al, %dx

next_line:
        movw    $AT(line), %si
        movw    $(line_end - line) / FIFO_SIZE, %bp
next_load:
        movw    $LSR, %dx
1:      inb     %dx, %al
        testb   $LSR_THRE, %al
        jz      1b
        movw    $THR, %dx               /* an empty FIFO takes its whole size */
        movw    $FIFO_SIZE, %cx
        rep outsb
        decw    %bp
        jnz     next_load

        /* Count in the text itself, from the last digit up; 99999999 wraps to 0. */
        movw    $AT(number_end) - 1, %di
1:      incb    (%di)
        cmpb    $'9', (%di)
        jbe     next_line
        movb    $'0', (%di)
        decw    %di
        cmpw    $AT(number), %di
        jae     1b
        jmp     next_line

line:
        .ascii  "flood "
number:
        .ascii  "00000000"
number_end:
        .ascii  " abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstu\r\n"
line_end:
        .if     line_end - line != 64
        .error  "a line is four loads of the FIFO"
        .endif

        .org    avirt_flood_guest + 510
        .byte   0x55, 0xaa
        .size   avirt_flood_guest, . - avirt_flood_guest

        .section .note.GNU-stack, "", @progbits
