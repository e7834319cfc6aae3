// The switch between fibers: saves the callee-saved registers and the stack pointer, and continues another fiber (x86-64).
asm(".text\n"
    ".globl unweight_switch_fiber\n"
    "unweight_switch_fiber:\n"
    "  push %rbp\n  push %rbx\n  push %r12\n  push %r13\n  push %r14\n  push %r15\n"
    "  mov %rsp, (%rdi)\n  mov %rsi, %rsp\n"
    "  pop %r15\n  pop %r14\n  pop %r13\n  pop %r12\n  pop %rbx\n  pop %rbp\n  ret\n");
