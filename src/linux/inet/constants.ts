/** Numbers of sockets of the Internet protocols: linux/net.h, asm-generic/socket.h, linux/in.h. */

export const SOCK_STREAM = 1;
export const SOCK_DGRAM = 2;
export const SO_REUSEADDR = 2;
export const SO_BINDTOIFINDEX = 62;
export const SO_NETNS_COOKIE = 71;
export const SOL_IP = 0;
export const IP_MTU_DISCOVER = 10;
export const IP_PMTUDISC_PROBE = 3;
export const IP_FREEBIND = 15;
