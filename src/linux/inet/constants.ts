/** Numbers of sockets of the Internet protocols: linux/net.h, asm-generic/socket.h. */

export const SOCK_STREAM = 1;
export const SO_REUSEADDR = 2;
