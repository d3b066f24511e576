# A kernel in miniature: from real mode to 64-bit mode with page tables, memory
# written over several megabytes, and the timer's interrupts taken from hlt.
	.code16
	.globl _start
_start:
	cli
	xorw %ax, %ax
	movw %ax, %ds
	movw %ax, %es
	movw %ax, %ss
	movw $0x7c00, %sp
	cld
	# page tables at 0x1000 (PML4), 0x2000 (PDPT), 0x3000 (PD): 1 GiB in pages of 2 MiB
	movw $0x1000, %di
	movw $0x1800, %cx
	rep stosw
	movw $0x2003, 0x1000
	movw $0x3003, 0x2000
	movw $0x3000, %di
	movl $0x83, %eax
1:	movl %eax, (%di)
	addl $0x200000, %eax
	addw $8, %di
	cmpw $0x4000, %di
	jb 1b
	movb $2, %al
	outb %al, $0x92		# A20
	lgdtl gdt
	movl $0xa0, %eax
	movl %eax, %cr4		# PAE, PGE
	movl $0x1000, %eax
	movl %eax, %cr3
	movl $0xc0000080, %ecx
	rdmsr
	orl $0x100, %eax
	wrmsr			# EFER.LME
	movl %cr0, %eax
	orl $0x80000001, %eax
	movl %eax, %cr0
	ljmpl $8, $long
	.code64
long:
	movw $16, %ax
	movw %ax, %ds
	movw %ax, %es
	movw %ax, %ss
	movl $0x7c00, %esp
	# the gate of the vector 0x20 in an IDT at 0x5000
	movl $0x5200, %edi
	movl $(tick - _start + 0x7c00) | (8 << 16), (%rdi)
	movl $0x8e00, 4(%rdi)
	movq $0, 8(%rdi)
	lidt idt
	# the interrupt controllers at 0x20 and 0x28, all masked but the timer
	movb $0x11, %al
	outb %al, $0x20
	outb %al, $0xa0
	movb $0x20, %al
	outb %al, $0x21
	movb $0x28, %al
	outb %al, $0xa1
	movb $4, %al
	outb %al, $0x21
	movb $2, %al
	outb %al, $0xa1
	movb $1, %al
	outb %al, $0x21
	outb %al, $0xa1
	movb $0xfe, %al
	outb %al, $0x21
	movb $0xff, %al
	outb %al, $0xa1
	# the timer at 1000 Hz
	movb $0x34, %al
	outb %al, $0x43
	movb $0xa9, %al
	outb %al, $0x40
	movb $0x04, %al
	outb %al, $0x40
	# a word in each page of 8 MiB from 2 MiB on
	movl $0x200000, %edi
2:	movl %edi, (%rdi)
	addl $0x1000, %edi
	cmpl $0xa00000, %edi
	jb 2b
	# what only a hypervisor answers
	movl $256, %esi
3:	xorl %eax, %eax
	cpuid
	decl %esi
	jnz 3b
	xorl %ebp, %ebp
	sti
4:	hlt
	cmpl $50, %ebp
	jb 4b
	movb $0x10, %al
	outb %al, $0xf4
5:	hlt
	jmp 5b
tick:
	incl %ebp
	pushq %rax
	movb $0x20, %al
	outb %al, $0x20
	popq %rax
	iretq
	.balign 8
table:
	.quad 0
	.quad 0x00af9a000000ffff
	.quad 0x00cf92000000ffff
gdt:
	.word gdt - table - 1
	.long table
idt:
	.word 0x20 * 16 + 15
	.quad 0x5000
