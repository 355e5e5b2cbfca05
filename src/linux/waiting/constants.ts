/** asm-generic/poll.h */
export const POLLIN = 0x1;
/** asm-generic/unistd.h: newer system calls have one number on every architecture */
// oxlint-disable-next-line no-underscore-dangle -- its name
export const __NR_pidfd_open = 434;
